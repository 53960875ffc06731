//! Variables that nobody uses
#![deny(unused)]

async fn task(parameter: u32) {
    let variable = 1;
}

fn main() {
    tokio::spawn(task(1));
}
