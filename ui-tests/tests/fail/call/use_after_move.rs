#[bgtask::background]
async fn task(text: String) {
    drop(text);
}

fn main() {
    let text = String::new();
    task(text);
    drop(text);
}
