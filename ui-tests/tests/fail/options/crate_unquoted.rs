#[bgtask::background(crate = ::bgtask)]
async fn task() {}

fn main() {
    task();
}
