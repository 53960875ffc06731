#[bgtask::background]
async fn task(key: &str, number: u32) {}

fn main() {
    task("", 1);
}
