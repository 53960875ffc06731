use bgtask::spawn;

fn main() {
    let handle: bgtask::TaskHandle<Result<u8, String>> = spawn!(
        name = "sync",
        timout = "30s",
        every = "1m",
        retry(max = 1, backof = "linear"),
        move |token| async move {
            token.cancelled().await;
            Ok(1)
        },
        log = "info"
    );
    drop(handle);
}
