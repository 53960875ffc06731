use bgtask::{TaskHandle, spawn};

fn main() {
    let handle: TaskHandle<u8> = spawn!("sync", async { "text" });
    let also: TaskHandle<Result<u8, String>> = spawn!("sync", timeout = "1s", || Ok("text"));
    drop((handle, also));
    spawn!("sync", 1);
}
