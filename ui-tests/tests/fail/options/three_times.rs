#[bgtask::background(log = "info", name = "a", log = "warn", log = "off")]
async fn task() {}

fn main() {
    task();
}
