#[bgtask::background]
async fn task(token: _) {}

fn main() {
    task(1);
}
