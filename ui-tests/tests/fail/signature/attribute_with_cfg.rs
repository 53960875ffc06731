#[bgtask::background]
#[tracing::instrument]
async fn task(#[cfg(any())] gone: u8) {}

fn main() {
    task();
}
