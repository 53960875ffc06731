#[bgtask::background]
async fn task() {
    break;
}

fn main() {
    task();
}
