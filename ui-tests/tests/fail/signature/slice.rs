#[bgtask::background]
async fn task(bytes: &[u8]) -> usize {
    bytes.len()
}

fn main() {
    task(&[1]);
}
