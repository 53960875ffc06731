#[bgtask::main(pre_stop = "30s")]
async fn main() {}

mod with_grace {
    #[bgtask::main(pre_stop = "5s", grace = "5s")]
    async fn serve(port: u16) {}
}
