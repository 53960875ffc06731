#![deny(unused)]
use bgtask::spawn;

fn main() {
    spawn!("sync", async {
        let number = 1;
        std::fs::read("x");
    });
}
