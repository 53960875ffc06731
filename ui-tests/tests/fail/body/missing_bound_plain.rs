#[bgtask::background]
fn task<T: 'static>(value: T) {
    drop(value);
}

fn main() {}
