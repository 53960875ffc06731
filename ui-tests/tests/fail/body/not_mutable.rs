#[bgtask::background]
async fn task(text: String) {
    text.push('!');
}

fn main() {
    task(String::new());
}
