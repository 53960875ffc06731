use bgtask::background;

#[background(durable(unique), every = "5m")]
async fn unique() {}

#[background(durable(unique(key = 1)), every = "1h")]
async fn with_a_key() {}

#[background(durable(notify = bgtask::durable::Notify::none()), every = "1h")]
async fn notifies() {}

#[background(durable, every = "99ms")]
async fn too_often() {}

#[background(durable, every = "5m", essential)]
async fn essential() {}

#[background(durable, every = "5m", on_start)]
async fn at_the_start() {}

#[background(durable, every = "5m", overlap, missed = "all")]
async fn overlapping() {}

#[background(durable, missed = "all")]
async fn never() {}

#[background(durable, every = "5m")]
async fn with_an_argument(job: bgtask::Job, order: u64) {}

#[background(durable, every = "1h")]
async fn with_a_borrowed_argument(name: &str) {}

#[background(durable, every = "5m")]
async fn generic<T>() {}

struct Shop;

impl Shop {
    #[background(durable, every = "5m")]
    async fn method(&self) {}
}

#[background(every = "5m")]
async fn not_stored(job: bgtask::Job) {}

fn main() {}
