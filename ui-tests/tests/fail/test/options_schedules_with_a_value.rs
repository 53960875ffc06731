#[bgtask::test(schedules = true)]
async fn saves() {}

fn main() {}
