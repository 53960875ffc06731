#[bgtask::background]
fn task(number: u32) -> String {
    number
}

fn main() {
    task(1);
}
