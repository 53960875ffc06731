#![deny(unused)]

#[bgtask::background]
async fn task(mut number: u32) {
    number = 2;
}

fn main() {
    task(1);
}
