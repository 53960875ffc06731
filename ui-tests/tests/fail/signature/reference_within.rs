#[bgtask::background]
async fn task(keys: Vec<(u8, &str)>, found: Option<&mut String>) {}

fn main() {
    task(vec![], None);
}
