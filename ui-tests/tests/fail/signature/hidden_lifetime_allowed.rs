// In a plain function the compiler lets it stand, and speaks of the borrow.
#[bgtask::background]
fn task(key: std::slice::Iter<u8>) {
    drop(key);
}

fn main() {
    task([1].iter());
}
