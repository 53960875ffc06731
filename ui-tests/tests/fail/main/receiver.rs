#[bgtask::main]
async fn main(&self) {}
