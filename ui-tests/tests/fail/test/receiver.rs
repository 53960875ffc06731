struct Pages;

impl Pages {
    #[bgtask::test]
    async fn saves(&self) {}
}

fn main() {}
