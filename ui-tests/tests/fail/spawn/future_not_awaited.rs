use bgtask::spawn;

async fn fetch() -> u8 {
    1
}

fn main() {
    spawn!("sync", async { fetch() });
    spawn!("sync", move || async { fetch() });
}
