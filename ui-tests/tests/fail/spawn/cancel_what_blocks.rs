use bgtask::spawn;

fn main() {
    spawn!("sync", on_shutdown = "cancel", || ());
}
