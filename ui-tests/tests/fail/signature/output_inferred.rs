#[bgtask::background]
async fn task() -> _ {
    1
}

fn main() {
    task();
}
