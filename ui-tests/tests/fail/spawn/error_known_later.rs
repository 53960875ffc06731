use bgtask::spawn;

async fn waits() {
    let handle = spawn!("sync", async { Ok(1) });
    let result: anyhow::Result<u8> = handle.await.unwrap();
    drop(result);
}

fn main() {
    drop(waits());
}
