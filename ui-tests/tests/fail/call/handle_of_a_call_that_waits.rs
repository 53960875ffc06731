#![deny(unused_must_use)]

use bgtask::background;

#[background(concurrency(max = 1, queue = 10, overflow = "wait"))]
async fn index(page: String) {
    drop(page);
}

#[background(concurrency(max = 1, queue = 10, overflow = "wait"))]
#[must_use = "the user's own words"]
async fn index_in_other_words(page: String) {
    drop(page);
}

struct Crawler;

impl Crawler {
    #[background(concurrency(max = 1, queue = 10, overflow = "wait"))]
    fn fetch(self: std::sync::Arc<Self>) {}
}

async fn crawl() {
    index("home".to_owned());
    index_in_other_words("home".to_owned());
    std::sync::Arc::new(Crawler).fetch();
    let held = index("about".to_owned());
    let _ = held.await;
}

fn main() {
    drop(crawl());
}
