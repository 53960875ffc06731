#[bgtask::background]
async fn task() -> Vec<impl Sized> {
    vec![1]
}

fn main() {
    task();
}
