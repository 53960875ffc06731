#[bgtask::background]
async fn task<T: Send>(value: T) {
    drop(value);
}

fn main() {}
