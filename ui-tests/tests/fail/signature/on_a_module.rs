#[bgtask::background]
mod tasks {
    pub fn task() {}
}

fn main() {
    tasks::task();
}
