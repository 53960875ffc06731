//! The models that shuttle runs: random schedules of the larger pieces.
//! Owns how a model is run; each file has the invariants of its models.

mod calls;
#[path = "../../src/model.rs"]
mod model;
mod policies;
pub(crate) mod sync;

pub(crate) use model::is_broken;
pub use model::{Model, break_on_purpose};
use shuttle::scheduler::{PctScheduler, RandomScheduler, ReplayScheduler};
use shuttle::{Config, Runner};

/// How many schedules each of the two schedulers tries. Default of `BGTASK_SCHEDULES`.
const SCHEDULES: usize = 1_000;

/// How many times as many schedules are tried at most while the code makes a mistake, which ends the model in the first schedule that
/// shows it. The rarest mistake is missed in one of 230 runs of the default number of schedules.
const ROUNDS_WITH_MISTAKE: u64 = 20;

/// How many times per schedule the second scheduler stops a thread that could continue.
const PREEMPTIONS: usize = 3;

/// All models.
pub fn all() -> Vec<Model> {
    [policies::MODELS, calls::MODELS].concat()
}

/// Returns a number from the environment.
fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let Ok(value) = text.parse() else {
        panic!("{name} must be a number, and is `{text}`");
    };
    Some(value)
}

/// Returns the seed of all schedules of this process.
pub fn seed() -> u64 {
    static SEED: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *SEED.get_or_init(|| number("BGTASK_SEED").unwrap_or_else(|| fastrand::u64(..)))
}

/// Runs a model in random schedules, and in as many schedules with few preemptions. Returns the number of schedules.
///
/// # Panics
/// Panics in the first schedule in which the invariant does not hold. shuttle prints that schedule, which `BGTASK_SCHEDULE` runs
/// again.
#[allow(clippy::print_stdout)]
pub fn check(model: &Model) -> u64 {
    model::be_quiet();
    let schedules = number("BGTASK_SCHEDULES").unwrap_or(SCHEDULES);
    let seed = seed();
    println!("{}: BGTASK_SEED={seed}", model.name);
    let mut config = Config::new();
    // Room for the message of a panic.
    config.stack_size = 0x4_0000;
    if let Ok(schedule) = std::env::var("BGTASK_SCHEDULE") {
        let one = ReplayScheduler::new_from_encoded(&schedule);
        return Runner::new(one, config).run(model.run) as u64;
    }
    let rounds = if model::makes_mistake() {
        ROUNDS_WITH_MISTAKE
    } else {
        1
    };
    let run = model.run;
    let tried = (0..rounds).map(|round| {
        let seed = seed.wrapping_add(round);
        let random = RandomScheduler::new_from_seed(seed, schedules);
        let few = PctScheduler::new_from_seed(seed, PREEMPTIONS, schedules);
        Runner::new(random, config.clone()).run(run) + Runner::new(few, config.clone()).run(run)
    });
    tried.sum::<usize>() as u64
}
