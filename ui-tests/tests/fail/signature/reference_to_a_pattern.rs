#[bgtask::background]
async fn task(&(a, b): &(u8, u8)) {}

fn main() {
    task(&(1, 2));
}
