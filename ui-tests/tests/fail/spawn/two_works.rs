use bgtask::spawn;

fn main() {
    spawn!("sync", async {}, async {});
    spawn!("sync", || {}, || {});
    spawn!("sync", || async {}, 1);
    spawn!("sync", async {} async {});
}
