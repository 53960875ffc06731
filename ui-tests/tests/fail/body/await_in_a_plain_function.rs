#[bgtask::background]
fn task() {
    std::future::ready(()).await;
}

fn main() {
    task();
}
