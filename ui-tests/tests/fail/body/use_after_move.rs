#[bgtask::background]
async fn task(text: String) -> usize {
    drop(text);
    text.len()
}

fn main() {
    task(String::new());
}
