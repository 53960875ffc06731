#[bgtask::background]
#[cfg(any())]
async fn task() {}

fn main() {
    task();
}
