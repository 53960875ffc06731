#[bgtask::background]
async fn task(text: String) {
    text.parse::<u32>()?;
}

fn main() {
    task(String::new());
}
