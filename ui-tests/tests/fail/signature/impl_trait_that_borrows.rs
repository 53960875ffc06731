#[bgtask::background]
async fn task(all: impl Iterator<Item = &str> + Send + 'static) {
    drop(all);
}

fn main() {
    task(["a"].into_iter());
}
