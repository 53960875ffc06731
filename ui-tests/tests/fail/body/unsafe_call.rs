unsafe fn dangerous() {}

#[bgtask::background]
async fn task() {
    dangerous();
}

fn main() {
    task();
}
