#[bgtask::main(pre_stop = "0s")]
async fn main() {}
