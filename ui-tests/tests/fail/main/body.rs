#[bgtask::main]
async fn main() -> Result<(), std::fmt::Error> {
    absent().await;
    "text"
}
