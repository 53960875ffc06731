use bgtask::spawn;
use bgtask::__private::tokio::sync::oneshot;

async fn later() {
    let parsed = spawn!("parse", async { "1".parse().unwrap() });
    let _: u32 = parsed.await.unwrap();
    let (sender, receiver) = oneshot::channel();
    spawn!("wait", async move { receiver.await.unwrap() });
    sender.send(5_u64).unwrap();
}

fn main() {}
