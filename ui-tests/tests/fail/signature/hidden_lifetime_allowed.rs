// In a plain function, the compiler accepts the lifetime and reports the borrow.
#[bgtask::background]
fn task(key: std::slice::Iter<u8>) {
    drop(key);
}

fn main() {
    task([1].iter());
}
