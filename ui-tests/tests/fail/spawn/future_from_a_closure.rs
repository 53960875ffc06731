use bgtask::spawn;

async fn fetch() -> u8 {
    1
}

fn main() {
    spawn!("sync", || fetch());
    spawn!("sync", move |token| {
        drop(token);
        Box::pin(async { 1 })
    });
    spawn!("sync", timeout = "30s", || fetch());
}
