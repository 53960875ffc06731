use bgtask::{Job, background};

#[background]
async fn not_stored(job: bgtask::Job) {
    let _ = job;
}

#[background(timeout = "1m")]
async fn not_stored_either(job: Job) {
    let _ = job;
}

#[background(durable)]
async fn borrows_it(job: &Job) {
    let _ = job;
}

mod own {
    use bgtask::background;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Job;

    #[background(durable)]
    async fn takes_a_type_of_that_name(job: Job) {
        let _ = job;
    }

    #[derive(Clone)]
    struct Key;

    #[background(durable(unique(key = key.0)))]
    async fn has_a_key_without_a_text(key: (Vec<u8>, u8)) {
        let _ = (key, Key);
    }
}

fn main() {}
