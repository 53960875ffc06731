#[bgtask::background]
async fn task<T>(value: T) {
    drop(value);
}

fn main() {}
