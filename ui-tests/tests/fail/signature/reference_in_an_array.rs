#[bgtask::background]
async fn task(keys: [&str; 2]) {}

fn main() {
    task(["", ""]);
}
