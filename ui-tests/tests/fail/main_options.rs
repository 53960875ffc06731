mod a {
    #[bgtask::main(flavour = "multi_thread")]
    async fn main() {}
}
mod b {
    #[bgtask::main(flavor = "current_thread", worker_threads = 2)]
    async fn main() {}
}
mod c {
    #[bgtask::main(worker_threads = 0)]
    async fn main() {}
}
mod d {
    #[bgtask::main(worker_threads = "two")]
    async fn main() {}
}
mod e {
    #[bgtask::main(grace = "30")]
    async fn main() {}
}
mod f {
    #[bgtask::main(grace = 30)]
    async fn main() {}
}
mod g {
    #[bgtask::main(crate = "bgtask")]
    async fn main() {}
}

fn main() {}
