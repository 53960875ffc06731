#[bgtask::background]
async fn task(call: impl Fn() -> usize + Send + 'static) {
    call();
}

fn main() {
    let text = String::new();
    task(|| text.len());
}
