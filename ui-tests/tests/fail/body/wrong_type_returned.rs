#[bgtask::background]
async fn task(number: u32) -> String {
    if number > 0 {
        return 1;
    }
    String::new()
}

fn main() {
    task(1);
}
