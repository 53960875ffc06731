#[bgtask::background]
async fn task((key, number): (String, u32)) {
    drop((key, number));
}

fn main() {
    task((1, 2));
}
