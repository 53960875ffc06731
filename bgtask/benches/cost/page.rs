//! Measures everything and writes the page: tables and plots.

use crate::call::{Pattern, from_threads, instructions, median, nanoseconds};
use crate::host::Flavor;
use crate::ways::{
    BARE, BGTASK, BGTASK_MANAGER, BGTASK_PLAIN, BGTASK_TOKEN, IDIOM, SPAWN_BLOCKING, TRACKER, WAYS,
    Way,
};
use crate::{plot, scale, startup, subscribers};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A section of the page: its name, and the function that measures it and returns its text and plot.
type Section = (&'static str, fn() -> (String, String));

const SECTIONS: &[Section] = &[
    ("instructions", instructions_of_a_call),
    ("time", time_of_a_call),
    ("threads", calls_from_threads),
    ("tasks", many_tasks),
];

/// Writes all sections into the page.
pub(crate) fn write() {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs"].iter().collect();
    fs::create_dir_all(&folder).expect("a folder");
    let mut page = String::from(HEAD);
    let _ = writeln!(page, "Machine: {}.\n", machine());
    for (name, measure) in SECTIONS {
        let (text, svg) = measure();
        fs::write(folder.join(format!("{name}.svg")), svg).expect("a file");
        println!("{text}");
        page.push_str(&text);
        let _ = writeln!(page, "![{name}]({name}.svg)\n");
    }
    page.push_str(TAIL);
    fs::write(folder.join("benchmarks.md"), page).expect("a file");
}

/// Prints one section.
pub(crate) fn show(wanted: &str) {
    for (name, measure) in SECTIONS {
        if *name == wanted {
            println!("{}", measure().0);
        }
    }
}

const HEAD: &str = include_str!("head.md");
const TAIL: &str = include_str!("tail.md");

fn machine() -> String {
    let first = |file: &str, start: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(start));
        line.and_then(|line| line.split_once(':'))
            .map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, {threads} threads, {}; {}; release profile of `cargo bench`, the system's allocator",
        first("/proc/cpuinfo", "model name"),
        std::env::consts::OS,
        rustc.unwrap_or_default()
    )
}

fn instructions_of_a_call() -> (String, String) {
    let mut text = String::from(
        "## One no-op call, from the call to its recorded end\n\nInstructions, current-thread runtime. Command: \
         `cargo bench -p bgtask -- instructions` (needs `valgrind`).\n\n\
         | | waves | × bare | × idiom | burst | × bare | first burst | × bare | waves at `warn` | × idiom | waves, every span | × idiom |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let count =
        |way: &str, subscriber, pattern| instructions(way, subscriber, pattern).unwrap_or(f64::NAN);
    let measure = |way: &Way| {
        // Blocking functions are called one after another, whatever the pattern.
        let [waves, burst, first] = if way.is_blocking() {
            let waves = count(way.name, subscribers::NONE, Pattern::Waves);
            [waves, f64::NAN, f64::NAN]
        } else {
            Pattern::ALL.map(|pattern| count(way.name, subscribers::NONE, pattern))
        };
        let warn = count(way.name, subscribers::WARN, Pattern::Waves);
        let spans = count(way.name, subscribers::SPANS, Pattern::Waves);
        [waves, burst, first, warn, spans]
    };
    let rows: Vec<_> = WAYS.iter().map(|way| (way, measure(way))).collect();
    let of = |name: &str| {
        let row = rows.iter().find(|(own, _)| own.name == name);
        row.expect("a row").1
    };
    let idiom = of(IDIOM);
    let mut bars = Vec::new();
    for (way, [waves, burst, first, warn, spans]) in &rows {
        let bare = of(if way.is_blocking() {
            SPAWN_BLOCKING
        } else {
            BARE
        });
        let cells = [
            (*waves, 0),
            (waves / bare[0], 2),
            (waves / idiom[0], 2),
            (*burst, 0),
            (burst / bare[1], 2),
            (*first, 0),
            (first / bare[2], 2),
            (*warn, 0),
            (warn / idiom[3], 2),
            (*spans, 0),
            (spans / idiom[4], 2),
        ];
        let cells = cells.map(|(value, digits)| {
            if value.is_nan() {
                "–".to_owned()
            } else {
                format!("{value:.digits$}")
            }
        });
        let _ = writeln!(text, "| {} | {} |", way.name, cells.join(" | "));
        if !way.is_blocking() {
            bars.push((way.name.to_owned(), *waves));
        }
    }
    text.push_str(
        "\n*Waves*: a thousand calls at a time, twelve waves minus two. *Burst*: a second burst of twelve thousand calls minus the \
         first. *First\nburst*: twelve thousand calls at once minus two thousand, when there have never been as many. The two \
         subscribers only hand out span\nids. The last two rows are compared with `spawn_blocking`: one call after another, each \
         awaited.\n\n",
    );
    (
        text,
        plot::bars("Instructions of one no-op call (waves)", "", &bars),
    )
}

fn time_of_a_call() -> (String, String) {
    let mut text = String::from(
        "## Time\n\nCommand: `cargo bench -p bgtask -- time`. Nanoseconds per call, waves of 1 000, median of 301 rounds in \
         which the variants\ntake turns.\n\n\
         | | current-thread | × bare | multi-thread, 2 workers | × bare | × TaskTracker |\n|---|--:|--:|--:|--:|--:|\n",
    );
    let names = [BARE, TRACKER, IDIOM, BGTASK, BGTASK_TOKEN, BGTASK_MANAGER];
    let current = nanoseconds(Flavor::CurrentThread, &names);
    let multi = nanoseconds(Flavor::MultiThread, &names);
    for (index, name) in names.iter().enumerate() {
        let _ = writeln!(
            text,
            "| {name} | {:.0} | {:.2} | {:.0} | {:.2} | {:.2} |",
            current[index],
            current[index] / current[0],
            multi[index],
            multi[index] / multi[0],
            multi[index] / multi[1],
        );
    }
    let on_the_pool = [SPAWN_BLOCKING, BGTASK_PLAIN];
    let blocking = nanoseconds(Flavor::MultiThread, &on_the_pool);
    let _ = writeln!(
        text,
        "\nOn the blocking pool, one after another: {SPAWN_BLOCKING} {:.0} ns, {BGTASK_PLAIN} {:.0} ns, a ratio of {:.2}.\n",
        blocking[0],
        blocking[1],
        blocking[1] / blocking[0],
    );
    let bars: Vec<_> = names
        .iter()
        .zip(multi)
        .map(|(name, time)| ((*name).to_owned(), time))
        .collect();
    (
        text,
        plot::bars("Time of one no-op call, multi-thread runtime", "ns", &bars),
    )
}

fn calls_from_threads() -> (String, String) {
    let mut text = String::from(
        "## Calls from several threads at once\n\nCommand: `cargo bench -p bgtask -- threads`. 40 000 calls in total, nanoseconds per \
         call until all have ended; median of 31\nrounds that take turns.\n\n| Threads | TaskTracker | bgtask | Ratio |\n|--:|--:|--:|--:|\n",
    );
    let mut bars = Vec::new();
    for threads in [1, 2, 4, 8] {
        let times = from_threads(threads, &[TRACKER, BGTASK]);
        let (theirs, own) = (times[0], times[1]);
        let _ = writeln!(
            text,
            "| {threads} | {theirs:.0} | {own:.0} | {:.2} |",
            own / theirs
        );
        bars.push((format!("TaskTracker, {threads} threads"), theirs));
        bars.push((format!("bgtask, {threads} threads"), own));
    }
    text.push('\n');
    (
        text,
        plot::bars("Calls from several threads at once", "ns", &bars),
    )
}

fn many_tasks() -> (String, String) {
    let mut text = String::from(
        "## Many tasks, many functions\n\nCommand: `cargo bench -p bgtask -- tasks`. Bytes of process memory per task, with 1 000 000 tasks that wait for a `tokio::sync::Notify`.\n\n\
         | | Bytes | More than bare |\n|---|--:|--:|\n",
    );
    let rows: Vec<_> = ["tokio::spawn", "idiom", "bgtask"]
        .map(|way| (way.to_owned(), scale::bytes_a_task(way)))
        .into();
    for (name, bytes) in &rows {
        let _ = writeln!(text, "| {name} | {bytes:.0} | {:.0} |", bytes - rows[0].1);
    }
    let rounds = || 0..5;
    let own = median(
        rounds()
            .map(|_| scale::fired_to_accounted_bgtask())
            .collect(),
    );
    let theirs = median(
        rounds()
            .map(|_| scale::fired_to_accounted_idiom())
            .collect(),
    );
    let snapshots = scale::rows_of_snapshots();
    let startup = startup::startup();
    let _ = writeln!(
        text,
        "\n| | |\n|---|--:|\n\
         | 1 000 000 tasks wait for their token: from firing it until the last task has ended, bgtask | {own:.0} ms |\n\
         | the same, the idiom | {theirs:.0} ms |\n\
         | from the end of the last task until the shutdown returns its report (median of 51) | {:.0} µs |\n\
         {snapshots}\
         | creating the first manager, with {} linked functions to check (median of 51) | {:.0} µs |\n\
         | registering the same functions before `main` | {:.0} instructions |\n",
        scale::drain_notices_the_end(),
        startup.functions,
        startup.first_manager_us,
        startup.before_main.unwrap_or(f64::NAN),
    );
    (
        text,
        plot::bars("Memory of one waiting task", "bytes", &rows),
    )
}
