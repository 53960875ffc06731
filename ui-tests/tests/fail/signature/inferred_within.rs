#[bgtask::background]
async fn task(all: Vec<_>) {}

fn main() {
    task(vec![1]);
}
