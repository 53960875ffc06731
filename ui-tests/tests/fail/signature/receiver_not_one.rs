struct Service;

impl Service {
    #[bgtask::background]
    async fn task(self: Vec<Self>) {}
}

fn main() {}
