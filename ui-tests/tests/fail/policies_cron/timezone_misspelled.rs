#[bgtask::background(cron = "0 3 * * *", timezone = "Europe/Berln")]
async fn misspelled() {}

fn main() {}
