#[bgtask::background]
unsafe extern "C" {
    fn abs(number: i32) -> i32;
}

fn main() {
    let _ = unsafe { abs(-1) };
}
