use bgtask::spawn;

fn main() {
    spawn!("sync", durable, async {});
}
