use bgtask::background;

#[background(durable(queue = "my mail"))]
async fn a_queue_with_a_space() {}

#[background(durable(priority = 5))]
async fn a_fifth_priority() {}

#[background(durable(keep = "0s"))]
async fn kept_for_no_time() {}

#[background(durable(keep = "36501d"))]
async fn kept_for_more_than_a_century() {}

#[background(durable, retry(max = 32768))]
async fn more_attempts_than_a_database_counts() -> Result<(), String> {
    Ok(())
}

#[background(durable(was = "früher"))]
async fn was_not_ascii() {}

#[background(durable(unique(key)))]
async fn a_key_without_a_value(order: u64) {
    let _ = order;
}

#[background(durable(unique(within = "2d")))]
async fn a_window_longer_than_the_job_stays() {}

#[background(durable(keep = "90d", unique(within = "40d")))]
async fn a_window_longer_than_a_dead_job_stays() {}

#[background(durable(key = order))]
async fn a_key_at_the_wrong_place(order: u64) {
    let _ = order;
}

#[background(durable(unique = order))]
async fn unique_without_parentheses(order: u64) {
    let _ = order;
}

#[background(durable(notify))]
async fn notifies_nobody() {}

#[background(durable(notify = url, notify = other))]
async fn notifies_twice(url: String, other: String) {
    let _ = (url, other);
}

#[background(notify = url)]
async fn notifies_on_its_own(url: String) {
    let _ = url;
}

#[background(durable(queues = "mail"))]
async fn misspelled() {}

#[background(durable = "mail")]
async fn no_parentheses() {}

#[background(priority = 2)]
async fn on_its_own() {}

fn main() {}
