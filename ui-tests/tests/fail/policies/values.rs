#[bgtask::background(timeout = "30")]
async fn no_unit() {}

#[bgtask::background(timeout = 30)]
async fn not_a_string() {}

#[bgtask::background(timeout = "0s")]
async fn no_time_at_all() {}

#[bgtask::background(timeout)]
async fn no_value() {}

#[bgtask::background(timout = "30s")]
async fn misspelled() {}

#[bgtask::background(every = "0s")]
async fn no_period() {}

#[bgtask::background(rate = "100")]
async fn no_window() {}

#[bgtask::background(rate = "0/s")]
async fn no_calls_at_all() {}

#[bgtask::background(rate(key = 1))]
async fn no_limit() {}

#[bgtask::background(concurrency = 0)]
async fn no_permit() {}

#[bgtask::background(concurrency(queue = 5))]
async fn no_max() {}

#[bgtask::background(concurrency(max = 1, overflow = "refuse"))]
async fn never_full() {}

#[bgtask::background(concurrency(max = 1, queue = 1, overflow = "explode"))]
async fn no_such_overflow() {}

#[bgtask::background(coalesce = "join")]
async fn not_in_parentheses() {}

#[bgtask::background(coalesce(policy = "merge"))]
async fn no_such_policy() {}

#[bgtask::background(queue = 5)]
async fn outside() {}

#[bgtask::background(retry(last_attempt = "no"))]
async fn no_boolean() -> Result<(), String> {
    Ok(())
}

#[bgtask::background(retry(last_attempt))]
async fn no_answer() -> Result<(), String> {
    Ok(())
}

#[bgtask::background(retry(jitter = "1s", panics = 1))]
async fn neither_on_nor_off() -> Result<(), String> {
    Ok(())
}

#[bgtask::background(retry(after))]
async fn no_function() -> Result<(), String> {
    Ok(())
}

#[bgtask::background(last_attempt = false)]
async fn outside_of_retry() {}

#[bgtask::background(essential = true)]
async fn a_flag_with_a_value() {}

#[bgtask::background(cron = "0 25 * * *")]
async fn no_such_hour() {}

#[bgtask::background(cron = "0 0 30 2 *")]
async fn no_such_day() {}

#[bgtask::background(cron = "0 3 * *")]
async fn a_field_short() {}

#[bgtask::background(cron = "0 3 * * *")]
async fn without_the_feature() {}

fn main() {
    no_unit();
    misspelled();
}
