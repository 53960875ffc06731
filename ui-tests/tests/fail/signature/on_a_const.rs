#[bgtask::background]
const NUMBER: fn() = main;

fn main() {
    let _ = NUMBER;
}
