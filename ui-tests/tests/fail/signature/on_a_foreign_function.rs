unsafe extern "C" {
    #[bgtask::background]
    fn abs(number: i32) -> i32;
}

fn main() {}
