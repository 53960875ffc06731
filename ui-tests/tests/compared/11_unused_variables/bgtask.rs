//! The same.
#![deny(unused)]

#[bgtask::background]
async fn task(parameter: u32) {
    let variable = 1;
}

fn main() {
    task(1);
}
