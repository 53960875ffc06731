#[bgtask::background]
async fn task(key: String) {
    drop(key);
}

fn main() {
    task(String::new(), 1);
}
