#[bgtask::background(durable)]
async fn stored() {}

fn main() {}
