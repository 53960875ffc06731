#[bgtask::background]
async fn task(text: &'static str) {
    drop(text);
}

fn main() {
    let text = String::new();
    task(&text);
}
