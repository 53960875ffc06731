use bgtask::spawn;

fn main() {
    spawn!("sync" async {});
    spawn!("sync", timeout = "1s" async {});
    spawn!("sync", retry(panics) async {});
    spawn!("sync",, async {});
}
