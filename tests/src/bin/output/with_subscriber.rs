//! A program whose `main` installs a subscriber first, as most do: the start-up check comes after that.

#[bgtask::background]
async fn works() {}

#[bgtask::main]
async fn main() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .init();
    works();
}
