#[bgtask::background]
async fn task(key: String, number: u32) {
    drop((key, number));
}

fn main() {
    task("text", 1);
    task(1, String::new());
}
