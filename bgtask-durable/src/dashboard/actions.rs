//! The actions: each is noted in the audit before it is done, and then with what really happened.
//! Owns their names, their rights and their results as text; must never know a page's HTML.

use super::search::Query;
use crate::inspected::Inspected;
use crate::{Edit, Filter, Jobs};
use bgtask::dashboard::{Act, Action, Rights};
use bgtask::durable::{JobError, JobId, JobState};
use humantime::format_rfc3339_seconds;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The most jobs of one action.
const JOBS: usize = 100;

/// The longest text of the audit, in characters.
const LONGEST: usize = 500;

pub(super) const RETRY: &str = "retry";
pub(super) const CANCEL: &str = "cancel";
pub(super) const DELETE: &str = "delete";
pub(super) const PAUSE: &str = "pause";
pub(super) const RESUME: &str = "resume";
pub(super) const RETRY_DEAD: &str = "retry-dead";
pub(super) const EDIT: &str = "edit";
pub(super) const PAUSE_SCHEDULE: &str = "pause-schedule";
pub(super) const RESUME_SCHEDULE: &str = "resume-schedule";
pub(super) const RUN_SCHEDULE: &str = "run-schedule";

pub(super) const ALL: [Action; 10] = [
    needs(RETRY, Rights::Operate),
    needs(CANCEL, Rights::Operate),
    needs(DELETE, Rights::Admin),
    needs(PAUSE, Rights::Operate),
    needs(RESUME, Rights::Operate),
    needs(RETRY_DEAD, Rights::Operate),
    needs(EDIT, Rights::Operate),
    needs(PAUSE_SCHEDULE, Rights::Operate),
    needs(RESUME_SCHEDULE, Rights::Operate),
    needs(RUN_SCHEDULE, Rights::Operate),
];

const fn needs(name: &'static str, needs: Rights) -> Action {
    Action { name, needs }
}

/// What an action is about.
enum Target {
    Jobs(BTreeSet<i64>),
    Edit(i64, Edit),
    Queue(String),
    /// The function of a schedule.
    Schedule(String),
    Dead(Query),
}

impl Target {
    fn of(act: &Act) -> Result<Self, String> {
        match act.action {
            RETRY | CANCEL | DELETE => {
                let fields = act.form.iter().filter(|(name, _)| name == "job");
                let ids = fields.map(|(_, id)| id.parse().ok().filter(|id: &i64| *id > 0));
                let ids: BTreeSet<i64> = ids
                    .collect::<Option<_>>()
                    .ok_or("The id of a job is a number.")?;
                if ids.is_empty() {
                    return Err("No job is selected.".to_owned());
                }
                if ids.len() > JOBS {
                    return Err(format!("At most {JOBS} jobs at once."));
                }
                Ok(Self::Jobs(ids))
            }
            EDIT => {
                let id = act.field("job").and_then(|id| id.parse().ok());
                let id = id.filter(|id: &i64| *id > 0).ok_or("No job is selected.")?;
                Ok(Self::Edit(id, edit_of(act)?))
            }
            PAUSE | RESUME => {
                let queue = act.field("queue").unwrap_or_default();
                if !bgtask::durable::is_queue_name(queue) {
                    return Err("No queue can have this name.".to_owned());
                }
                Ok(Self::Queue(queue.to_owned()))
            }
            PAUSE_SCHEDULE | RESUME_SCHEDULE | RUN_SCHEDULE => {
                let function = act.field("schedule").unwrap_or_default();
                if function.is_empty() || function.chars().count() > LONGEST {
                    return Err("No schedule is selected.".to_owned());
                }
                Ok(Self::Schedule(function.to_owned()))
            }
            _ => {
                let query = Query::parse(act.field("q").unwrap_or_default())?;
                if !can_retry_all(&query) {
                    return Err(
                        "All dead jobs of a function or a queue can be retried at once: write only `state:dead`, `fn:` and `queue:`."
                            .to_owned(),
                    );
                }
                Ok(Self::Dead(query))
            }
        }
    }

    /// Returns the target as text.
    fn text(&self) -> String {
        match self {
            Self::Jobs(ids) => {
                let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
                let jobs = if ids.len() == 1 { "job" } else { "jobs" };
                format!("{jobs} {}", ids.join(", "))
            }
            Self::Edit(id, edit) => {
                let priority = edit.priority.map(|priority| format!("priority {priority}"));
                let at = edit
                    .at
                    .map(|at| format!("at {}", format_rfc3339_seconds(at)));
                let changes: Vec<_> = priority.into_iter().chain(at).collect();
                format!("job {id}, to {}", changes.join(", "))
            }
            Self::Queue(queue) => format!("queue {queue}"),
            Self::Schedule(function) => format!("schedule of {function}"),
            Self::Dead(query) => format!("all jobs of {query}"),
        }
    }
}

/// Returns whether the dead jobs of a search can be retried at once: the statement takes no other condition.
pub(super) fn can_retry_all(query: &Query) -> bool {
    query.state == Some(JobState::Dead)
        && query.key.is_none()
        && query.error.is_none()
        && query.arguments.is_empty()
}

/// Acts, and returns the page that shows the result.
pub(super) async fn act(jobs: &Jobs, database: &Inspected, act: &Act) -> Result<String, String> {
    let target = Target::of(act)?;
    let (actor, action) = (kept(&act.actor), act.action);
    let text = kept(&target.text());
    // Without an entry, nothing is done.
    let entry = database
        .ask(move |database| async move { database.begin_audit(&actor, action, &text).await })
        .await?;
    let (result, mut page) = match target {
        Target::Jobs(ids) => (each(jobs, action, &ids).await, page_of(&ids, act)),
        Target::Edit(id, edit) => (
            text_of(edit_one(jobs, JobId::new(id), edit).await),
            format!("jobs/{id}?"),
        ),
        Target::Queue(queue) => (
            set_paused(jobs, &queue, action == PAUSE).await,
            "queues?".to_owned(),
        ),
        Target::Schedule(function) => on_schedule(jobs, &function, act).await,
        Target::Dead(query) => (
            retry_dead(jobs, &query).await,
            format!("{}&", query.link("", None)),
        ),
    };
    let result = kept(&result);
    tracing::info!(target: "bgtask", actor = act.actor, action, entry, result, "somebody acted on the dashboard");
    // The action is done. If its result cannot be noted, the entry shows that none is.
    let ended =
        database.ask(move |database| async move { database.end_audit(entry, &result).await });
    if let Err(error) = ended.await {
        tracing::warn!(target: "bgtask", entry, error, "the result of an action is not in the audit");
    }
    let _ = write!(page, "done={entry}");
    Ok(page)
}

/// Returns the page from which jobs were chosen.
fn page_of(ids: &BTreeSet<i64>, act: &Act) -> String {
    let listed = act.field("q").and_then(|q| Query::parse(q).ok());
    match (listed, ids.first()) {
        (None, Some(id)) if act.action != DELETE => format!("jobs/{id}?"),
        (None, _) => "jobs?".to_owned(),
        (Some(query), _) => format!("{}&", query.link("", None)),
    }
}

/// Returns a text as the audit keeps it.
fn kept(text: &str) -> String {
    let characters = text.chars().filter(|character| *character != '\0');
    characters.take(LONGEST).collect()
}

/// What happened, each with the number of jobs to which it did.
#[derive(Default)]
struct Tally(Vec<(String, u64)>);

impl Tally {
    fn add(&mut self, what: impl Into<String>) {
        let what = what.into();
        match self.0.iter_mut().find(|(other, _)| *other == what) {
            Some((_, number)) => *number += 1,
            None => self.0.push((what, 1)),
        }
    }

    fn text(&self) -> String {
        let parts = self
            .0
            .iter()
            .map(|(what, number)| format!("{number} {what}"));
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// Does something to each of some jobs.
async fn each(jobs: &Jobs, action: &str, ids: &BTreeSet<i64>) -> String {
    let mut tally = Tally::default();
    for id in ids.iter().copied().map(JobId::new) {
        let done = match action {
            RETRY => retry(jobs, id).await,
            CANCEL => cancel(jobs, id).await,
            _ => delete(jobs, id).await,
        };
        tally.add(text_of(done));
    }
    tally.text()
}

fn text_of(done: Result<&'static str, JobError>) -> String {
    match done {
        Ok(done) => done.to_owned(),
        Err(JobError::NotFound | JobError::Gone) => "not there any more".to_owned(),
        Err(error) => format!("left as it was: {error}"),
    }
}

/// Reads the priority and the time that a form has. A field that is empty leaves what there is.
fn edit_of(act: &Act) -> Result<Edit, String> {
    let given = |name| act.field(name).filter(|text| !text.is_empty());
    let mut edit = Edit::new();
    if let Some(priority) = given("priority") {
        let priority = priority.parse().ok();
        let priority = priority.filter(|priority| (1..=4).contains(priority));
        edit = edit.priority(priority.ok_or("The priority is a number from 1 to 4.")?);
    }
    if let Some(at) = given("at") {
        // A browser leaves the seconds out if they are zero.
        let seconds = if at.len() == "2026-12-01T15:00".len() {
            ":00"
        } else {
            ""
        };
        let at = humantime::parse_rfc3339_weak(&format!("{at}{seconds}"));
        edit = edit.at(at.map_err(|_| "The time is in UTC, such as 2026-12-01T15:00.")?);
    }
    if edit == Edit::new() {
        return Err("Neither a priority nor a time is given.".to_owned());
    }
    Ok(edit)
}

async fn edit_one(jobs: &Jobs, id: JobId, edit: Edit) -> Result<&'static str, JobError> {
    let is_edited = jobs.edit(id, edit).await?;
    Ok(
        match (is_edited, jobs.get::<()>(id).status().await?.state) {
            (true, JobState::Scheduled | JobState::Retrying) => "changed, and its time is to come",
            // It may have been claimed since, and more.
            (true, _) => "changed, and its time has come",
            (false, JobState::Parked) => "parked: left as it was",
            (false, state) if state.has_ended() => "had already ended",
            (false, _) => "running already: left as it was",
        },
    )
}

async fn retry(jobs: &Jobs, id: JobId) -> Result<&'static str, JobError> {
    if jobs.get::<()>(id).retry_now().await? {
        return Ok("retried");
    }
    Ok(match jobs.get::<()>(id).status().await?.state {
        JobState::Running => "running already",
        JobState::Parked => "parked, until a worker starts that decodes its arguments",
        state if state.has_ended() => "had already ended",
        _ => "waiting already",
    })
}

async fn cancel(jobs: &Jobs, id: JobId) -> Result<&'static str, JobError> {
    if !jobs.get::<()>(id).cancel().await? {
        return Ok("had already ended");
    }
    Ok(match jobs.get::<()>(id).status().await?.state {
        JobState::Cancelled => "cancelled",
        // Its end may have come first, with a value or without.
        state if state.has_ended() => "asked to end, and has ended",
        _ => "asked to end",
    })
}

async fn delete(jobs: &Jobs, id: JobId) -> Result<&'static str, JobError> {
    Ok(if jobs.delete(id).await? {
        "deleted"
    } else {
        "left as it was, because it is running: cancel it first"
    })
}

async fn set_paused(jobs: &Jobs, queue: &str, is_paused: bool) -> String {
    let (set, done) = if is_paused {
        (
            jobs.pause(queue).await,
            "paused: no process claims its jobs",
        )
    } else {
        (jobs.resume(queue).await, "resumed")
    };
    match set {
        Ok(()) => done.to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Acts on a schedule. Returns the result, and the page that shows it.
async fn on_schedule(jobs: &Jobs, function: &str, act: &Act) -> (String, String) {
    let mut page = "schedules?".to_owned();
    let done = match act.action {
        PAUSE_SCHEDULE => jobs
            .pause_schedule(function, kept(&act.actor))
            .await
            .map(|is_new| {
                if is_new {
                    "paused: it has no ticks until it is resumed".to_owned()
                } else {
                    "was paused already".to_owned()
                }
            }),
        RESUME_SCHEDULE => jobs.resume_schedule(function).await.map(|is_new| {
            if is_new {
                "resumed: the next tick is the first from now on".to_owned()
            } else {
                "was not paused".to_owned()
            }
        }),
        _ => jobs.run_schedule(function).await.map(|job| {
            page = format!("jobs/{job}?");
            format!("job {job} is stored")
        }),
    };
    (done.unwrap_or_else(|error| error.to_string()), page)
}

async fn retry_dead(jobs: &Jobs, query: &Query) -> String {
    let mut filter = Filter::all();
    if let Some(function) = &query.function {
        filter = filter.function(function);
    }
    if let Some(queue) = &query.queue {
        filter = filter.queue(queue);
    }
    match jobs.retry_dead(filter).await {
        Ok(number) => format!("{number} retried"),
        Err(error) => format!("some may be retried: {error}"),
    }
}
