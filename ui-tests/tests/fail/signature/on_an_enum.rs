#[bgtask::background]
enum Choice {
    One,
}

fn main() {
    let _ = Choice::One;
}
