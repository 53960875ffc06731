trait Work {
    #[bgtask::background]
    async fn work();
}

fn main() {}
