#[bgtask::background]
static NUMBER: u32 = 1;

fn main() {
    let _ = NUMBER;
}
