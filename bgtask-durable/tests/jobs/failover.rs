//! A server that ends: the same one comes back, or its standby takes its place at the address that the processes have.

#![cfg(feature = "postgres")]

use crate::support::cluster::Cluster;
use crate::support::proxy::Proxy;
use crate::support::store::{LIMIT, Process};
use crate::support::transactions::Pool;
use bgtask::background;
use bgtask::durable::{JobError, JobHandle, JobId, JobState};
use bgtask_durable::builder;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// The doors by the address of the test.
static OPEN: Mutex<BTreeMap<String, bool>> = Mutex::new(BTreeMap::new());

fn is_open(door: &str) -> bool {
    let open = OPEN.lock().expect("no thread panics with it");
    open.get(door).copied().unwrap_or(false)
}

fn set_open(door: &str, is_open: bool) {
    let mut open = OPEN.lock().expect("no thread panics with it");
    open.insert(door.to_owned(), is_open);
}

/// Runs until its door is open.
#[background(durable, retry(max = 1))]
async fn held(door: String, number: u32) -> u32 {
    while !is_open(&door) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    number
}

#[background(durable, retry(max = 1))]
async fn quick(number: u32) -> u32 {
    number
}

/// Stores calls one after another until its door is open. Returns the numbers and ids of those that are stored, and how many are
/// not, or perhaps not.
async fn load(door: &str) -> (Vec<(u32, JobId)>, u32) {
    let (mut stored, mut failed) = (Vec::new(), 0);
    for number in 0.. {
        if is_open(&format!("{door} load")) {
            return (stored, failed);
        }
        let begin = Instant::now();
        match quick(number).await {
            Ok(job) => stored.push((number, job.id())),
            Err(_) => {
                failed += 1;
                // And at once if the server refuses the connection.
                assert!(
                    begin.elapsed() < Duration::from_secs(7),
                    "{:?}",
                    begin.elapsed()
                );
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    unreachable!("there are more numbers")
}

/// Waits for an outcome, however long the server is away.
async fn outcome(job: &JobHandle<u32>) -> Result<u32, JobError> {
    let begin = Instant::now();
    loop {
        match job.outcome().await {
            Err(JobError::Store { .. }) if begin.elapsed() < LIMIT => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Runs two processes with jobs that run and a load of calls, takes the server away and brings one back, and checks that nothing is
/// lost and each end recorded once.
fn survives(url: &str, direct: impl Fn() -> String, away: impl FnOnce()) -> (usize, u32) {
    let door = url.to_owned();
    let processes = [(); 2].map(|()| Process::start(builder().url(url)));
    let [first, second] = &processes;
    let pool = first.run(Pool::at(url));
    first.run(pool.note_ends());
    let jobs = first.run(async {
        let calls = (0..20).map(|number| held(door.clone(), number));
        let jobs = bgtask::durable::enqueue_all(calls).await;
        jobs.expect("they are stored")
    });
    let begin = Instant::now();
    while first.run(first.jobs.count(JobState::Running)) != Ok(20) {
        assert!(begin.elapsed() < LIMIT, "they do not run");
        thread::sleep(Duration::from_millis(10));
    }
    let (stored, failed) = thread::scope(|scope| {
        let load = scope.spawn(|| second.run(load(&door)));
        thread::sleep(Duration::from_millis(300));
        away();
        // A call is stored again.
        first.run(async {
            let begin = Instant::now();
            while quick(0).await.is_err() {
                assert!(begin.elapsed() < LIMIT, "nothing is stored any more");
            }
        });
        set_open(&format!("{door} load"), true);
        load.join().expect("no panic")
    });
    first.run(async {
        for (number, job) in (0..).zip(&jobs) {
            assert_eq!(outcome(job).await, Ok(number));
            let status = job.status().await.expect("it is there");
            assert_eq!((status.attempts, status.crashes), (1, 0));
        }
        for (number, id) in &stored {
            assert_eq!(outcome(&first.jobs.get(*id)).await, Ok(*number));
        }
        let pool = Pool::at(&direct()).await;
        let begin = Instant::now();
        // Those of calls whose answer was lost end as well.
        while pool
            .numbers("SELECT count(*) FROM river_job WHERE state <> 'completed'")
            .await
            != [0]
        {
            assert!(begin.elapsed() < LIMIT, "some do not end");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let ends = pool.noted_ends().await;
        assert!(ends.len() > jobs.len() + stored.len());
        assert_eq!(ends.iter().max(), Some(&1), "an end is recorded twice");
    });
    processes.into_iter().for_each(Process::end);
    (stored.len(), failed)
}

/// Sentences 7.1, 7.2 and 7.3.
#[test]
fn a_server_that_ends_and_comes_back_loses_nothing() {
    let is_long = std::env::var_os("BGTASK_ROUNDS").is_some();
    let aways: &[u64] = if is_long { &[0, 5, 60] } else { &[1] };
    for seconds in aways {
        let Some(mut cluster) = Cluster::start() else {
            return;
        };
        let url = Cluster::url(cluster.ports[0]);
        let (stored, failed) = survives(
            &url,
            || url.clone(),
            || {
                cluster.stop();
                // The bodies end while the server is away.
                set_open(&url, true);
                thread::sleep(Duration::from_secs(*seconds));
                cluster.start_again();
            },
        );
        #[expect(clippy::print_stdout, reason = "of a long run")]
        {
            println!(
                "the server away for {seconds} s: {stored} calls stored beside it, {failed} failed in time; lost 0, ends recorded twice 0"
            );
        }
    }
}

/// Sentences 7.1, 7.3 and 7.6.
#[test]
fn after_a_failover_the_standby_has_every_job() {
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    let [first, second] = cluster.ports;
    let proxy = Proxy::new(first);
    let url = Cluster::url(proxy.port());
    cluster.add_standby();
    let (stored, failed) = survives(
        &url,
        || Cluster::url(second),
        || {
            cluster.stop();
            set_open(&url, true);
            cluster.promote();
            proxy.lead_to(second);
        },
    );
    #[expect(clippy::print_stdout, reason = "of a long run")]
    {
        println!(
            "failover to a standby: {stored} calls stored beside it, {failed} failed in time; lost 0, ends recorded twice 0"
        );
    }
}
