mod tasks {
    #[bgtask::background]
    async fn task() {}
}

fn main() {
    tasks::task();
}
