//! The same.
#[bgtask::background]
async fn task(key: String, number: u32) {
    drop((key, number));
}

fn main() {
    task(String::new(), "1");
}
