#[bgtask::background]
async fn task<'a>(key: &'a str) {}

fn main() {
    task("");
}
