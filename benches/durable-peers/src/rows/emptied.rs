//! Postgres after its table was emptied, bulk-loaded, vacuumed and left alone: no run may be far slower than the others.

use crate::database::Kind;
use crate::host::measure;
use crate::peer::BGTASK;
use crate::section::{Goal, Scale, Section};
use crate::stats::{Rounds, thousands};
use std::fmt::Write as _;
use std::time::Duration;

const RUN: &str = "8000";
const LOADED: &str = "200000";

pub(crate) fn measure_on(kind: Kind<'_>, scale: &Scale) -> Section {
    let database = kind.create();
    let server = kind.server().expect("Postgres");
    let execute = |statement: &str| server.execute(&database.name, &[statement.to_owned()]);
    let run = || measure(&["run", BGTASK.0, &database.url, "200", RUN]);
    let load = || measure(&["fill", BGTASK.0, &database.url, LOADED]);
    let mut section = Section {
        title: "Postgres, after the table was emptied, loaded and vacuumed",
        ..Section::default()
    };
    section.text.push_str(
        "Jobs a second, 200 at once, 8 000 jobs a run, on one database, one line after another.\n\n| before each run | runs |\n|---|---|\n",
    );
    let mut all = Rounds::default();
    let mut row = |title: &str, prepare: &dyn Fn()| {
        let mut rates = Vec::new();
        for _ in 0..scale.rounds.min(3) {
            prepare();
            if let Some(&[rate]) = run().as_deref() {
                all.push(rate);
                rates.push(thousands(rate));
            }
        }
        println!("| {title} | {} |", rates.join(", "));
        let _ = writeln!(section.text, "| {title} | {} |", rates.join(", "));
    };
    row("nothing", &|| {});
    row("`DELETE` of all rows", &|| execute("DELETE FROM river_job"));
    row("200 000 rows loaded and deleted", &|| {
        load();
        execute("DELETE FROM river_job");
    });
    row("the same, and `VACUUM`", &|| {
        load();
        execute("DELETE FROM river_job");
        execute("VACUUM river_job");
    });
    if scale.left > 0 {
        let pause = Duration::from_secs(scale.left);
        load();
        execute("DELETE FROM river_job");
        std::thread::sleep(pause);
        let title = format!("left alone for {}", humantime::format_duration(pause));
        row(&title, &|| {});
    }
    let ratio = all.least() / all.median();
    section.goals.push(Goal {
        what: "Postgres, after the table was emptied, bulk-loaded, vacuumed, left for an hour",
        goal: "no run below 0.5 of the median",
        now: format!(
            "the slowest {ratio:.2}{}",
            if scale.left >= 3_600 {
                ""
            } else {
                ", without the hour"
            }
        ),
        is_reached: ratio >= 0.5,
    });
    section
}
