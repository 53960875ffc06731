#[bgtask::main]
async fn main() -> impl std::process::Termination {}
