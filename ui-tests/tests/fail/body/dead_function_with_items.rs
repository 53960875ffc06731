#![deny(dead_code)]

#[bgtask::background]
async fn task() {
    fn helper() {}
    helper();
}

fn main() {}
