use bgtask::background;

#[background(durable(queue = "my mail"))]
async fn a_queue_with_a_space() {}

#[background(durable(priority = 5))]
async fn a_fifth_priority() {}

#[background(durable(keep = "0s"))]
async fn kept_for_no_time() {}

#[background(durable(was = "früher"))]
async fn was_not_ascii() {}

#[background(durable(unique))]
async fn unique() {}

#[background(durable(queues = "mail"))]
async fn misspelled() {}

#[background(durable = "mail")]
async fn no_parentheses() {}

#[background(priority = 2)]
async fn on_its_own() {}

fn main() {}
