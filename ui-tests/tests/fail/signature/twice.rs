#[bgtask::background]
#[bgtask::background(name = "again")]
async fn task() {}

fn main() {
    task();
}
