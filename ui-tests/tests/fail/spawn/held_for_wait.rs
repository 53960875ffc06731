#![deny(unused)]
use bgtask::spawn;

fn main() {
    spawn!("sync", concurrency(max = 1, queue = 1, overflow = "wait"), async {});
}
