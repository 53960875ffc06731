//! The bench of durable calls, beside other engines. `cargo run --release` measures everything and writes
//! `docs/durable-benchmarks.md` with its plots; the name of a part prints that part.

mod child;
mod database;
mod host;
mod page;
mod peer;
mod plot;
mod rows;
mod section;
mod server;
mod stats;

use database::Kind;
use rows::{churn, emptied, idle, latency, million, rates, takeover};
use section::{Scale, Section};
use server::Server;
use std::time::Instant;

/// The parts, in the order of the page.
const PARTS: [&str; 7] = [
    "rates", "latency", "takeover", "idle", "large", "emptied", "churn",
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == "child"
    {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        return runtime.block_on(child::run(rest));
    }
    let asked = match Asked::parse(&arguments) {
        Ok(asked) => asked,
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(2);
        }
    };
    let begin = Instant::now();
    let server = Server::start();
    if server.is_none() {
        println!("no Postgres on this machine (initdb and pg_ctl), so this run is partial");
    }
    let sections = measure(&asked, server.as_ref());
    let is_whole = asked.parts.len() == PARTS.len() && server.is_some();
    println!(
        "\n{}\n{} s",
        page::goals(&sections),
        begin.elapsed().as_secs()
    );
    if is_whole {
        page::write(&sections, begin.elapsed());
    }
}

fn measure(asked: &Asked, server: Option<&Server>) -> Vec<Section> {
    let scale = &asked.scale;
    let postgres = server.map(Kind::Postgres);
    let kinds: Vec<_> = [Some(Kind::Sqlite), postgres]
        .into_iter()
        .flatten()
        .collect();
    let mut sections = Vec::new();
    for part in &asked.parts {
        println!("\n{part}");
        match &**part {
            "rates" => sections.extend(kinds.iter().map(|kind| rates::measure_on(*kind, scale))),
            "latency" => sections.push(latency::measure_all(&kinds, scale)),
            "takeover" => sections.push(takeover::measure_all(&kinds, scale)),
            "idle" => sections.push(idle::measure_all(&kinds)),
            "large" => sections.push(million::measure_all(&kinds, scale)),
            "emptied" => sections.extend(postgres.map(|kind| emptied::measure_on(kind, scale))),
            _ => sections.push(churn::measure_all(&kinds, scale)),
        }
    }
    sections
}

/// What the command line asks for.
struct Asked {
    parts: Vec<String>,
    scale: Scale,
}

impl Asked {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut asked = Self {
            parts: Vec::new(),
            scale: Scale {
                rounds: 3,
                churn: 75,
                left: 0,
                waiting: 1_000_000,
            },
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            let seconds = |text: &String| {
                let duration = humantime::parse_duration(text);
                duration
                    .map(|duration| duration.as_secs())
                    .map_err(|error| format!("{text}: {error}"))
            };
            let number = |text: &String| {
                let number = text.parse::<u64>().ok().filter(|number| *number > 0);
                number.ok_or_else(|| format!("{text} is no number above 0"))
            };
            match &**argument {
                // The default, with a name.
                "--quick" => {}
                "--rounds" => asked.scale.rounds = number(value()?)? as usize,
                "--churn" => asked.scale.churn = seconds(value()?)?.max(1),
                "--left" => asked.scale.left = seconds(value()?)?,
                "--waiting" => asked.scale.waiting = number(value()?)?,
                part if PARTS.contains(&part) => asked.parts.push(part.to_owned()),
                other => {
                    return Err(format!(
                        "unknown: {other}. Parts: {}. Options: --rounds N, --churn TIME, --left TIME, --waiting N",
                        PARTS.join(", ")
                    ));
                }
            }
        }
        if asked.parts.is_empty() {
            asked.parts = PARTS.map(str::to_owned).to_vec();
        }
        Ok(asked)
    }
}
