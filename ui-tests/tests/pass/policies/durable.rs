//! Durable functions with keys and jobs, beside types and functions of the same names.

/// What a program may well have.
mod own {
    use bgtask::background;

    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Job(pub(super) u32);

    // Not stored, so the name is free.
    #[background]
    pub(super) async fn with_a_job(job: Job) -> u32 {
        job.0
    }
}

/// Both types in one function.
mod both {
    use super::own;
    use bgtask::background;

    #[background(
        durable(unique(key = job.0, within = "1h")),
        concurrency(max = 2, key = job.0),
        rate = "5/s"
    )]
    async fn stored(job: own::Job, of: bgtask::Job) -> u32 {
        job.0 + of.attempt()
    }

    #[test]
    fn they_compile() {
        let _ = || drop(own::with_a_job(own::Job(1)));
        let _ = || drop(stored(own::Job(1)));
    }
}

use bgtask::{Job, ShutdownToken, State, background};

// A panic is a failed attempt by default.
#[background(durable, retry(max = 3))]
async fn returns_nothing() {}

#[background(durable(unique))]
fn blocking(
    job: Job,
    State(limit): State<u8>,
    r#type: String,
    token: ShutdownToken,
) -> (String, u8) {
    job.progress(0.5, r#type.as_str());
    let _ = token;
    (r#type, limit)
}

#[background(durable(unique(key = format!("{left}/{right}"))))]
async fn patterns((left, right): (u8, u8), #[cfg(any())] gone: u8) -> u8 {
    left + right
}

/// A channel of another crate.
struct Post(String);

impl From<Post> for bgtask::durable::Notify {
    fn from(post: Post) -> Self {
        bgtask::durable::Notify::to("post", &post.0, true)
    }
}

#[background(durable(
    unique(key = left),
    notify = (
        Post(format!("{left}/{right}")),
        address.as_deref().map(|address| Post(address.to_owned())),
        [Post(encoder.clone()), Post(String::new())],
    )
))]
async fn notifies(
    (left, mut right): (u8, u8),
    address: Option<String>,
    encoder: String,
    State(_limit): State<u8>,
    _job: Job,
) -> String {
    right += left;
    format!("{right}{address:?}{encoder}")
}

#[background(durable(notify = Post(String::from("to whom it may concern"))))]
fn notifies_without_a_parameter() {}

#[background(durable)]
async fn only_its_job(mut job: Job) -> u32 {
    job = job.clone();
    job.max_attempts()
}

#[test]
fn they_compile() {
    let _ = || drop(returns_nothing());
    let _ = || drop(blocking(String::new()));
    let _ = || {
        drop(
            patterns((1, 2))
                .queue("mail")
                .priority(2)
                .key("a")
                .untyped(),
        )
    };
    let _ = || drop(only_its_job());
    let _ = || {
        drop(
            notifies((1, 2), None, String::new())
                .notify(Post(String::new()))
                .notify(None::<Post>),
        )
    };
    let _ = || drop(notifies_without_a_parameter());
}

mod by_the_clock {
    use bgtask::{Job, ShutdownToken, State, background};

    #[background(
        durable(queue = "mail", was = "app::tidy"),
        every = "1h",
        immediately,
        missed = "all",
        jitter = "1m",
        retry(max = 3, when = |error: &String| error.is_empty()),
        timeout = "1m",
        concurrency = 1,
        rate = "1/s"
    )]
    async fn tidy_up(
        job: Job,
        token: ShutdownToken,
        State(limit): State<u8>,
    ) -> Result<u8, String> {
        let _ = (job.tick(), token);
        Ok(limit)
    }

    #[background(durable, every = "100ms", overlap)]
    fn blocking() {}

    /// Also what nobody calls compiles without a warning.
    #[test]
    fn they_compile() {
        let _ = || drop(blocking());
    }
}
