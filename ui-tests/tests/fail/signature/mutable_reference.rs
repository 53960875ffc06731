#[bgtask::background]
fn task(all: &mut Vec<u8>) {}

fn main() {
    task(&mut vec![]);
}
