//! What a child process measures of its contestant, by the name of the measurement. Must never know how results are presented.

use crate::host::{answer, memory_of};
use crate::peer::{
    self, Durable, Measurement, NOTHING, Peer, Queues, SLEEP, Tables, take_waited, until_begun,
};
use crate::stats::{now_us, percentile};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// A child's arguments: the measurement, the contestant, the URL, and numbers.
pub(crate) async fn run(arguments: &[String]) {
    let [what, name, url, numbers @ ..] = arguments else {
        panic!("a measurement, a contestant and a URL");
    };
    let numbers: Vec<u64> = numbers
        .iter()
        .map(|number| number.parse().expect("a number"))
        .collect();
    let measured = Measured {
        what: what.clone(),
        numbers,
    };
    match &**what {
        "churn" => measured.churn(url).await,
        "stats" => measured.stats(url).await,
        _ => peer::with(name, url, measured).await,
    }
}

struct Measured {
    what: String,
    numbers: Vec<u64>,
}

const STORES: usize = 1;

impl Measurement for Measured {
    async fn with<P: Peer>(self, url: &str) {
        let open = |count, at_once| P::open(url, Queues { count, at_once });
        match (&*self.what, &*self.numbers) {
            ("store", &[callers, milliseconds]) => {
                store(open(1, STORES).await, callers, milliseconds).await;
            }
            ("within", &[milliseconds]) => {
                let peer = open(1, STORES).await;
                answer(&[rate_of(milliseconds, 1, || peer.store_within(NOTHING)).await]);
            }
            ("bulk", &[milliseconds]) => {
                let peer = open(1, STORES).await;
                answer(&[rate_of(milliseconds, 1_000, || peer.store_at_once(1_000)).await]);
            }
            ("run", &[at_once, count]) => {
                let peer = open(1, at_once as usize).await;
                peer.fill(count).await;
                answer(&[run_all(&peer, count).await]);
            }
            ("fill", &[count]) => open(1, STORES).await.fill(count).await,
            ("claim", &[at_once, count]) => {
                let peer = open(1, at_once as usize).await;
                let begin = Instant::now();
                peer.start().await;
                until_begun(count).await;
                let rate = count as f64 / begin.elapsed().as_secs_f64();
                let [now, most] = memory_of(std::process::id());
                answer(&[rate, now, most]);
                // Before the contestant is dropped while its jobs run.
                std::process::exit(0);
            }
            ("latency", &[within, count]) => {
                let peer = open(1, 50).await;
                peer.start().await;
                sleep(Duration::from_millis(500)).await;
                store_slowly(&peer, within == 1, count).await;
                until_begun(count).await;
                answer(&take_waited());
            }
            ("store-slowly", &[count]) => {
                let peer = open(1, STORES).await;
                store_slowly(&peer, false, count).await;
                answer(&[]);
            }
            ("sleepers", &[count]) => {
                let peer = open(1, STORES).await;
                for _ in 0..count {
                    peer.store(SLEEP).await;
                }
                answer(&[]);
            }
            ("work", &[queues, at_once]) => {
                let peer = open(queues as usize, at_once as usize).await;
                peer.start().await;
                serve().await;
            }
            (what, numbers) => panic!("no measurement {what} {numbers:?}"),
        }
        // Without a shutdown: the measurement is over, and the tables are deleted.
        std::process::exit(0);
    }
}

/// Answers how many jobs so many callers store in a second.
async fn store<P: Peer>(peer: P, callers: u64, milliseconds: u64) {
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let peer = peer.clone();
            tokio::spawn(async move { rate_of(milliseconds, 1, || peer.store(NOTHING)).await })
        })
        .collect();
    let mut rate = 0.0;
    for caller in callers {
        rate += caller.await.expect("it stores");
    }
    answer(&[rate]);
}

/// Repeats something for a time. Returns how often it was done in a second, times `weight`.
async fn rate_of<F: Future<Output = ()>>(
    milliseconds: u64,
    weight: u32,
    act: impl Fn() -> F,
) -> f64 {
    // The first opens connections and prepares statements.
    act().await;
    let (begin, limit) = (Instant::now(), Duration::from_millis(milliseconds));
    let mut count = 0;
    while begin.elapsed() < limit {
        act().await;
        count += weight;
    }
    f64::from(count) / begin.elapsed().as_secs_f64()
}

/// Runs the jobs in the table. Returns how many were run and recorded in a second.
async fn run_all<P: Peer>(peer: &P, count: u64) -> f64 {
    let before = peer.ended(count).await;
    let begin = Instant::now();
    peer.start().await;
    until_begun(count).await;
    // Only now: to count is not free.
    while peer.ended(count).await < before + count {
        sleep(Duration::from_millis(2)).await;
    }
    count as f64 / begin.elapsed().as_secs_f64()
}

/// Stores jobs with the times of their calls, one after another.
async fn store_slowly<P: Peer>(peer: &P, is_within: bool, count: u64) {
    for number in 0..count {
        if is_within {
            peer.store_within(now_us()).await;
        } else {
            peer.store(now_us()).await;
        }
        // No multiple of any interval.
        sleep(Duration::from_micros(5_000 + number * 7_919 % 11_000)).await;
    }
}

/// Answers each order: the number of bodies to wait for. The answer is what they have waited.
async fn serve() {
    answer(&[]);
    let (orders, mut received) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for order in std::io::stdin().lines() {
            let count = order.expect("a line").parse().expect("a number");
            orders.send(count).expect("it is received");
        }
    });
    while let Some(count) = received.recv().await {
        until_begun(count).await;
        answer(&take_waited());
    }
}

impl Measured {
    /// Answers how long the counts of all jobs take, in milliseconds.
    async fn stats(self, url: &str) {
        let queues = Queues {
            count: 1,
            at_once: STORES,
        };
        let peer = Durable::open(url, queues).await;
        let begin = Instant::now();
        peer.jobs.stats().await.expect("they are counted");
        answer(&[begin.elapsed().as_secs_f64() * 1_000.0]);
        std::process::exit(0);
    }

    /// Stores and runs jobs that are deleted after a second, at a constant rate. Answers the sizes from time to time.
    async fn churn(self, url: &str) {
        const BATCH: u64 = 25;
        let &[seconds, samples, rate] = &*self.numbers else {
            panic!("three numbers");
        };
        let queues = Queues {
            count: 1,
            at_once: 50,
        };
        let peer = Durable::open(url, queues).await;
        let tables: Tables = peer.tables.clone();
        peer.start().await;
        let storing = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 * BATCH / rate));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                // Each time is that of its own place in the list.
                peer.store_short((0..BATCH).map(|_| now_us())).await;
            }
        });
        let begin = Instant::now();
        for sample in 1..=samples {
            let until = Duration::from_secs_f64(seconds as f64 * sample as f64 / samples as f64);
            sleep(until.saturating_sub(begin.elapsed())).await;
            let waited = take_waited();
            let size = tables.size(url).await;
            answer(&[
                begin.elapsed().as_secs_f64(),
                size.rows,
                size.table,
                size.indexes,
                size.oldest,
                percentile(&waited, 50.0),
                percentile(&waited, 99.0),
                waited.len() as f64,
            ]);
        }
        storing.abort();
        std::process::exit(0);
    }
}
