//! The commands and their arguments, and their help. Must never know what a command does with them.

use bgtask::durable::{JobId, JobState};
use bgtask_durable::{Edit, Filter};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use std::time::{Duration, SystemTime};

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed, or `doctor` found a problem; 2 wrong usage;
3 nothing matched: no such job, queue or schedule, or nothing to do for one of them.";

/// A length that ends after the year 9999, up to which a job may wait.
const TOO_LONG: Duration = Duration::from_secs(400_000_000_000);

/// The heading of the options that each command has.
const EVERY_COMMAND: &str = "Options of every command";

/// Shows and changes the durable jobs of bgtask.
#[derive(Debug, Parser)]
#[command(name = "bgtask", version, after_help = EXIT_CODES, infer_subcommands = false)]
pub(crate) struct Arguments {
    /// The database. Default: BGTASK_DATABASE_URL, or `sqlite://bgtask.db`
    ///
    /// `sqlite://path` or `postgres://user@host/database`. Other users see it in the list of processes, so set the variable if it has a
    /// password.
    #[arg(long, global = true, value_name = "URL", help_heading = EVERY_COMMAND)]
    pub(crate) url: Option<String>,
    /// Prints JSON for programs in place of tables
    #[arg(long, global = true, help_heading = EVERY_COMMAND)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows how many jobs there are, the oldest that waits, paused queues and workers
    Status,
    /// Lists the queues with the number of their jobs by state, and their workers
    Queues,
    /// Lists the workers, and watches which of them live
    Workers(Watch),
    /// Lists the schedules of durable functions, pauses and resumes them, or runs one now
    Schedules(Schedules),
    /// Lists jobs, the latest first
    Jobs(Listed),
    /// Shows one job with the errors of all its attempts
    Job(One),
    /// Makes jobs available again: those of these ids, or all dead jobs of a filter
    Retry(Retry),
    /// Cancels jobs. One that runs is asked to end, and ends when its body does
    Cancel(Ids),
    /// Changes the priority and the time of jobs that wait
    Edit(Edited),
    /// Deletes jobs that do not run
    Delete(Ids),
    /// Pauses queues: no worker claims their jobs. What runs goes on, and calls are stored
    Pause(Queues),
    /// Resumes paused queues
    Resume(Queues),
    /// Makes the tables, or brings them up to date
    Migrate(Migrate),
    /// Deletes the jobs whose time in the database is over, as each worker does once per minute
    Prune,
    /// Examines the tables, clocks, settings, workers and queues
    Doctor(Watch),
    /// Prints the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The jobs of a function and a queue.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Means the jobs of this function only, such as `shop::send_receipt`
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Means the jobs of this queue only
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Means only the jobs that were stored before this one: the next page of a list
    #[arg(long, value_name = "ID")]
    before: Option<JobId>,
}

impl Arguments {
    /// Returns those of the process. Wrong ones end it, with the exit code 2.
    pub(crate) fn of_process() -> Self {
        let arguments = Self::parse();
        if let Command::Retry(retry) = &arguments.command
            && !retry.dead
            && (retry.yes || retry.which.is_given())
        {
            let message = "a filter and `--yes` are for `--dead`: give that, or ids alone";
            Self::command()
                .error(ErrorKind::ArgumentConflict, message)
                .exit();
        }
        arguments
    }
}

impl Which {
    fn is_given(&self) -> bool {
        self.function.is_some() || self.queue.is_some() || self.before.is_some()
    }

    pub(crate) fn filter(&self) -> Filter {
        let mut filter = Filter::all();
        if let Some(function) = &self.function {
            filter = filter.function(function);
        }
        if let Some(queue) = &self.queue {
            filter = filter.queue(queue);
        }
        if let Some(before) = self.before {
            filter = filter.before(before);
        }
        filter
    }

    /// Returns what is meant, for a sentence about its jobs.
    pub(crate) fn text(&self) -> String {
        let function = self.function.as_ref().map(|name| format!(" of {name}"));
        let queue = self
            .queue
            .as_ref()
            .map(|name| format!(" in the queue {name}"));
        let before = self.before.map(|id| format!(" before {id}"));
        [function, queue, before].into_iter().flatten().collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Listed {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Means the jobs in this state only
    #[arg(long, value_parser = states())]
    pub(crate) state: Option<JobState>,
    /// Lists at most this many jobs: 1 to 1000
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The id of the job
    pub(crate) id: JobId,
    /// Shows its arguments, which may be secret
    #[arg(long)]
    pub(crate) arguments: bool,
    /// Shows its value, which may be secret
    #[arg(long)]
    pub(crate) value: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The ids of the jobs: dead, cancelled, scheduled or retrying
    #[arg(required_unless_present = "dead", conflicts_with = "dead")]
    pub(crate) ids: Vec<JobId>,
    /// Means all dead jobs, or those of the filter
    #[arg(long)]
    pub(crate) dead: bool,
    #[command(flatten)]
    pub(crate) which: Which,
    /// Does not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// The ids of the jobs
    #[arg(required = true)]
    pub(crate) ids: Vec<JobId>,
}

#[derive(Debug, Args)]
pub(crate) struct Edited {
    /// The ids of the jobs: waiting, scheduled or retrying
    #[arg(required = true)]
    pub(crate) ids: Vec<JobId>,
    /// Sets the priority: 1 runs first, 4 last
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4), required_unless_present_any = ["at", "after"])]
    priority: Option<u8>,
    /// Sets when they may run, in UTC, such as `2026-12-01T15:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak, conflicts_with = "after")]
    at: Option<SystemTime>,
    /// Sets how long from now they may run at the earliest, such as `5m`, or `0s` for at once
    #[arg(long, value_name = "LENGTH", value_parser = humantime::parse_duration)]
    after: Option<Duration>,
}

impl Edited {
    pub(crate) fn edit(&self) -> Edit {
        let after = self
            .after
            .map(|after| SystemTime::now() + after.min(TOO_LONG));
        let mut edit = Edit::new();
        if let Some(priority) = self.priority {
            edit = edit.priority(priority);
        }
        if let Some(at) = self.at.or(after) {
            edit = edit.at(at);
        }
        edit
    }
}

#[derive(Debug, Args)]
pub(crate) struct Queues {
    /// The names of the queues
    #[arg(required = true, value_name = "QUEUE")]
    pub(crate) queues: Vec<String>,
    /// Accepts a queue that no job and no worker has yet
    #[arg(long)]
    pub(crate) new: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Schedules {
    /// Lists them without
    #[command(subcommand)]
    pub(crate) act: Option<ScheduleAct>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleAct {
    /// Pauses schedules, for all processes: they have no ticks until they are resumed
    Pause {
        #[command(flatten)]
        of: Functions,
        /// Who pauses them, for those who see it. Default: the user of this shell
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
    },
    /// Resumes paused schedules: the next tick is the first from now on
    Resume(Functions),
    /// Stores a job of each at once. The next tick comes when it would have come
    Run(Functions),
}

#[derive(Debug, Args)]
pub(crate) struct Functions {
    /// The functions of the schedules, such as `shop::close_the_day`
    #[arg(required = true, value_name = "FUNCTION")]
    pub(crate) functions: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Makes the file of an SQLite database that is not there
    #[arg(long)]
    pub(crate) create: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Watches the workers for at most this time, such as `4s`: the time to live of the workers, or 0s to not watch them
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = humantime::parse_duration)]
    pub(crate) wait: Duration,
}

fn states() -> impl TypedValueParser<Value = JobState> {
    let words = PossibleValuesParser::new(JobState::ALL.map(JobState::as_str));
    words.map(|word| {
        let named = JobState::ALL
            .into_iter()
            .find(|state| state.as_str() == word);
        // The parser before has refused every other word.
        named.unwrap_or(JobState::Waiting)
    })
}
