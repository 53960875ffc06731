#[bgtask::main]
async fn main() -> ! {
    std::process::exit(1)
}
