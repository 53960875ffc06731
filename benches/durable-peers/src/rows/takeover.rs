//! How long it takes after a kill -9 until another process runs all jobs of the one that died.

use crate::database::Kind;
use crate::host::{Served, measure};
use crate::peer::BGTASK;
use crate::section::{Scale, Section};
use crate::stats::Rounds;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const RUNNING: &str = "100";

pub(crate) fn measure_all(kinds: &[Kind<'_>], scale: &Scale) -> Section {
    let mut section = Section {
        title: "kill -9 of a process that runs 100 jobs",
        ..Section::default()
    };
    section.text.push_str(
        "Seconds from the kill until another process runs all of them, at the default time to live of 4 s: the median, and (least–most). \
         riverqueue rescues by the age of an attempt, by default after an hour.\n\n| | bgtask |\n|---|--:|\n",
    );
    for kind in kinds {
        let rounds: Rounds = (0..scale.rounds.div_ceil(3).max(2))
            .map(|_| takeover(*kind))
            .collect();
        let row = format!(
            "| {} | {:.2} ({:.2}–{:.2}) |",
            kind.name(),
            rounds.median(),
            rounds.least(),
            rounds.most()
        );
        println!("{row}");
        let _ = writeln!(section.text, "{row}");
    }
    section
}

fn takeover(kind: Kind<'_>) -> f64 {
    let database = kind.create();
    let work = ["work", BGTASK.0, &database.url, "1", RUNNING];
    let mut first = Served::start(&work);
    first.answer().expect("it is ready");
    measure(&["sleepers", BGTASK.0, &database.url, RUNNING]).expect("they are stored");
    first.ask(RUNNING);
    let mut second = Served::start(&work);
    second.answer().expect("it is ready");
    // It has seen beats of the first.
    std::thread::sleep(Duration::from_millis(2_500));
    first.kill();
    let begin = Instant::now();
    second.ask(RUNNING);
    begin.elapsed().as_secs_f64()
}
