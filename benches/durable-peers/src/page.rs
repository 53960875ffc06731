//! The page: goals, tables and plots. Must never know how they are measured.

use crate::section::{Goal, Section};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const HEAD: &str = include_str!("head.md");
const TAIL: &str = include_str!("tail.md");

/// Writes the page and its plots into `docs/`.
pub(crate) fn write(sections: &[Section], took: std::time::Duration) {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", "docs"]
        .iter()
        .collect();
    let mut page = String::from(HEAD);
    let _ = writeln!(
        page,
        "Machine: {}. The run took {} s.\n",
        machine(),
        took.as_secs()
    );
    let _ = writeln!(page, "## Goals\n\n{}", goals(sections));
    for section in sections {
        let _ = writeln!(page, "## {}\n\n{}", section.title, section.text);
        for (name, svg) in &section.plots {
            fs::write(folder.join(format!("{name}.svg")), svg).expect("a file");
            let _ = writeln!(page, "![{name}]({name}.svg)\n");
        }
    }
    page.push_str(TAIL);
    fs::write(folder.join("durable-benchmarks.md"), page).expect("a file");
}

/// Returns the table of goals.
pub(crate) fn goals(sections: &[Section]) -> String {
    let mut text = String::from("| | Goal | Now | |\n|---|---|---|---|\n");
    // Those of both databases stand together.
    let mut goals: Vec<&Goal> = Vec::new();
    for goal in sections.iter().flat_map(|section| &section.goals) {
        let place = goals.iter().rposition(|other| other.what == goal.what);
        goals.insert(place.map_or(goals.len(), |place| place + 1), goal);
    }
    for goal in goals {
        let reached = if goal.is_reached {
            "reached"
        } else {
            "**missed**"
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {reached} |",
            goal.what, goal.goal, goal.now
        );
    }
    text
}

fn machine() -> String {
    let of = |file: &str, start: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(start));
        line.and_then(|line| line.split_once(':'))
            .map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let version = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        let output = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        output.unwrap_or_default()
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{}, {} threads, {}; {}; load average at the end {}",
        of("/proc/cpuinfo", "model name"),
        std::thread::available_parallelism().map_or(0, usize::from),
        std::env::consts::OS,
        version("rustc", "--version"),
        load.split_whitespace().next().unwrap_or("unknown"),
    )
}
