use bgtask::spawn;

struct Page;

fn main() {
    spawn!("sync", coalesce, async { Page });
}
