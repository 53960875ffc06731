//! A table in which jobs come and go: its size, its oldest row, and how long a job waits.

use crate::database::Kind;
use crate::host::Served;
use crate::peer::BGTASK;
use crate::plot::{self, Line};
use crate::section::{Scale, Section};
use std::fmt::Write as _;
use std::time::Duration;

/// The jobs of a second.
const RATE: &str = "500";

/// The results, of which the table shows one in ten.
const SAMPLES: u32 = 30;

pub(crate) fn measure_all(kinds: &[Kind<'_>], scale: &Scale) -> Section {
    let mut section = Section {
        title: "A table in which jobs come and go",
        ..Section::default()
    };
    let duration = humantime::format_duration(Duration::from_secs(scale.churn));
    let _ = write!(
        section.text,
        "{RATE} jobs a second for {duration}, 25 in each transaction, deleted at the first look after their end (`keep = \"1s\"`; a process \
         looks once per minute). Postgres with its default autovacuum. Sizes in MiB; for SQLite, used pages, and the file with its WAL.\n\n\
         | | after | rows | table | indexes, or file | oldest row | call → start, p50 / p99 |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    let (mut sizes, mut waits) = (Vec::new(), Vec::new());
    for kind in kinds {
        let database = kind.create();
        let (seconds, samples) = (scale.churn.to_string(), SAMPLES.to_string());
        let arguments = ["churn", BGTASK.0, &database.url, &seconds, &samples, RATE];
        let mut child = Served::start(&arguments);
        let line = |name: String| Line {
            name,
            points: Vec::new(),
        };
        let mut table = line(format!("{}, table", kind.name()));
        let mut p99s = line(format!("{}, p99", kind.name()));
        let mut number = 0;
        while let Some(sample) = child.answer() {
            let &[at, rows, size, indexes, oldest, p50, p99, _] = &*sample else {
                panic!("eight numbers");
            };
            table.points.push([at, size]);
            p99s.points.push([at, p99]);
            number += 1;
            if number % (SAMPLES / 6) == 0 {
                let row = format!(
                    "| {} | {at:.0} s | {rows:.0} | {size:.1} | {indexes:.1} | {oldest:.0} s | {p50:.1} / {p99:.1} ms |",
                    kind.name()
                );
                println!("{row}");
                let _ = writeln!(section.text, "{row}");
            }
        }
        sizes.push(table);
        waits.push(p99s);
    }
    section.plots = vec![
        (
            "durable-churn-size",
            plot::lines("Size of the table", "MiB", &sizes),
        ),
        (
            "durable-churn-wait",
            plot::lines("From the call to the start, p99", "ms", &waits),
        ),
    ];
    section
}
