use bgtask::spawn;

fn main() {
    spawn!("sync", crate = "::bgtask", async {});
}
