use tokio_util::sync::CancellationToken;

#[bgtask::main]
async fn main(shutdown: CancellationToken) {}
