#[bgtask::background]
async fn task(text: String) -> Result<u32, std::fmt::Error> {
    Ok(text.parse::<u32>()?)
}

fn main() {
    task(String::new());
}
