use bgtask::spawn;

fn main() {
    spawn!("sync", async {}, timeout = "30s");
    spawn!("sync", move |token| async move { drop(token) }, retry(max = 3), log = "info");
    spawn!("sync", || (), log = "info");
}
