#[bgtask::background]
async fn task() -> impl Sized {}

#[bgtask::background]
async fn nested() -> Vec<impl Sized> {
    vec![1]
}

fn main() {
    task();
    nested();
}
