#[bgtask::background]
fn task() -> ! {
    std::process::exit(1)
}

fn main() {
    task();
}
