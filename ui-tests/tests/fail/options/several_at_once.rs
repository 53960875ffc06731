// Every error is reported at once.
#[bgtask::background(nmae = "x", log = "loud", on_shutdown, on_shutdown = "drain", crate = "bgtask")]
async fn task() {}

fn main() {
    task();
}
