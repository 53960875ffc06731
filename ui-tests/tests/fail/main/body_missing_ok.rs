#[bgtask::main]
async fn main() -> Result<(), std::fmt::Error> {
    std::future::ready(()).await;
}
