#[bgtask::background]
async fn task() -> impl Sized {}

fn main() {
    task();
}
