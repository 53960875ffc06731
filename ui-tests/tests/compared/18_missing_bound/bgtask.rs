//! The same; the bound is suggested for the function itself.
#[bgtask::background]
async fn task<T: 'static>(value: T) {
    drop(value);
}

fn main() {
    task(1);
}
