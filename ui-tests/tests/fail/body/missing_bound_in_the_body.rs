#[bgtask::background]
async fn task<T: Send + 'static>(value: T) -> T {
    value.clone()
}

fn main() {}
