#[bgtask::background]
async fn task<T: Default + Send + 'static>() -> T {
    T::default()
}

fn main() {
    task();
}
