#[bgtask::background(cron = "0 3 * * *", timezone = "Moon/Base One")]
async fn not_a_zone() {}

#[bgtask::background(cron = "0 3 * * *", every = "5m")]
async fn two_schedules() {}

fn main() {}
