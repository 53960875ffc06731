use bgtask::background;

#[background(durable, name = "quittung_für_alle")]
async fn not_ascii() {}

fn main() {}
