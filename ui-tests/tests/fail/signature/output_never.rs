#[bgtask::background]
async fn task() -> ! {
    loop {}
}

fn main() {
    task();
}
