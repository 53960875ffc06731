#[bgtask::background]
async fn task(value: impl std::fmt::Display) {
    println!("{value}");
}

fn main() {}
