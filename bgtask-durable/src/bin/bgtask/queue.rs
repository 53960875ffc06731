//! Pauses and resumes queues. Must never pause one that nobody has, because of a wrong letter.

use crate::arguments::Queues;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::escaped;
use bgtask_durable::Jobs;
use serde::Serialize;

#[derive(Serialize)]
struct Set {
    queue: String,
    is_paused: bool,
    /// It was not so before.
    has_changed: bool,
}

pub(crate) async fn pause(jobs: &Jobs, queues: Queues, output: &mut Output) -> Result<(), Failure> {
    set(jobs, queues, true, output).await
}

pub(crate) async fn resume(
    jobs: &Jobs,
    queues: Queues,
    output: &mut Output,
) -> Result<(), Failure> {
    set(jobs, queues, false, output).await
}

async fn set(
    jobs: &Jobs,
    Queues { queues, new }: Queues,
    is_paused: bool,
    output: &mut Output,
) -> Result<(), Failure> {
    let known = jobs.queues().await?;
    // Before any of them is changed.
    for queue in &queues {
        if !new && !known.iter().any(|known| known.name == *queue) {
            let names: Vec<_> = known.iter().map(|queue| queue.name.as_str()).collect();
            let names = match names[..] {
                [] => "none".to_owned(),
                _ => names.join(", "),
            };
            return Err(Failure::Nothing(format!(
                "no job and no worker has the queue {queue:?}; there are: {names}. Correct the name, or give `--new`"
            )));
        }
    }
    let mut all = Vec::with_capacity(queues.len());
    for queue in queues {
        let before = known.iter().find(|known| known.name == queue);
        let was_paused = before.is_some_and(|known| known.paused_at.is_some());
        if is_paused {
            jobs.pause(&queue).await?;
        } else {
            jobs.resume(&queue).await?;
        }
        all.push(Set {
            queue,
            is_paused,
            has_changed: was_paused != is_paused,
        });
    }
    output.show(&all, || {
        let line = |one: &Set| {
            let word = if one.is_paused { "paused" } else { "resumed" };
            let name = escaped(&one.queue);
            match (one.has_changed, one.is_paused) {
                (true, _) => format!("{name}: {word}\n"),
                (false, true) => format!("{name}: was paused already\n"),
                (false, false) => format!("{name}: was not paused\n"),
            }
        };
        all.iter().map(line).collect()
    })
}
