//! Shows that the check finds what it is for: evidence of a round in which nothing is wrong, and one lie at a time.

use super::check::Evidence;
use super::database::{Change, Row, Side};
use super::ledger::Ledger;
use super::plan::{Act, CRASH_LIMIT, Kind, Plain, Plan, Planned};
use std::collections::BTreeMap;
use std::time::Duration;

/// A quick job, one that fails, one that completes itself, and two with one key.
const KINDS: [Kind; 5] = [
    Kind::Plain(Plain::Ends),
    Kind::Plain(Plain::Fails),
    Kind::Completes(0),
    Kind::Keyed(1),
    Kind::Keyed(1),
];

/// The number of the job that is not stored, because it was refused.
const REFUSED: u32 = 5;

const LEDGER: &str = "
open 70
store 0
stored 0 10
store 1
stored 1 11
store 2
stored 2 12
store 3
stored 3 13
store 4
duplicate 4 13
store 5
refused 5 the database refused the job
begin 10 0 70 ra
end ra ok
begin 11 1 70 rb
end rb err
begin 12 2 70 rc
commit rc
end rc panic
begin 13 3 71 rd
end rd ok
done 0
outcome 10 70 done ra 0
outcome 10 71 done ra 0
outcome 11 71 dead 1
";

fn plan() -> Plan {
    let planned = |number: usize, kind| {
        Act::Store(Planned {
            number: u32::try_from(number).expect("it is small"),
            kind,
            after: None,
            priority: 1,
            queue: None,
        })
    };
    let refused = planned(REFUSED as usize, Kind::Once(0));
    let acts = KINDS
        .iter()
        .enumerate()
        .map(|(number, kind)| planned(number, *kind));
    Plan {
        seed: 0,
        time_to_live: Duration::ZERO,
        grace: Duration::ZERO,
        acts: vec![acts.chain([refused]).collect()],
        events: Vec::new(),
    }
}

fn side(state: &str, attempt: u32, version: u64, process: u32) -> Option<Side> {
    Some(Side {
        state: state.to_owned(),
        attempt,
        version,
        process: (process > 0).then_some(process),
        ..Side::default()
    })
}

/// A job that is stored, claimed and ended.
fn life(job: i64, number: u32, process: u32, end: &str) -> Vec<Change> {
    let (waiting, running) = (side("available", 0, 0, 0), side("running", 1, 0, process));
    let mut ended = side(end, 1, 1, process);
    if let Some(ended) = ended.as_mut().filter(|_| end == "discarded") {
        ended.errors = 1;
    }
    let sides = [None, waiting, running, ended];
    let change = |pair: &[Option<Side>]| Change {
        job,
        number,
        old: pair[0].clone(),
        new: pair[1].clone(),
        is_output: pair[1].as_ref().is_some_and(|new| new.state == "completed"),
    };
    sides.windows(2).map(change).collect()
}

fn row(id: i64, number: u32, run: &str) -> Row {
    Row {
        id,
        number,
        state: "completed".to_owned(),
        attempt: 1,
        max_attempts: 1,
        run: Some(run.to_owned()),
        queue: "default".to_owned(),
        ..Row::default()
    }
}

/// Returns what the check says after a lie.
fn after(lie: impl FnOnce(&mut Evidence<'_>)) -> String {
    let plan = plan();
    let dead = Row {
        state: "discarded".to_owned(),
        failure: "failed".to_owned(),
        run: None,
        errors: vec!["fails run=rb".to_owned()],
        ..row(11, 1, "")
    };
    let mut evidence = Evidence {
        plan: &plan,
        ledger: Ledger::parse(LEDGER.trim_start()),
        changes: [
            life(10, 0, 70, "completed"),
            life(11, 1, 70, "discarded"),
            life(12, 2, 70, "completed"),
            life(13, 3, 71, "completed"),
        ]
        .concat(),
        rows: vec![row(10, 0, "ra"), dead, row(12, 2, "rc"), row(13, 3, "rd")],
        bookings: BTreeMap::from([(2, 1)]),
        looked_at: vec![10, 11, 12, 13],
        ended: vec!["exit status: 0".to_owned()],
    };
    lie(&mut evidence);
    let wrong = evidence.check();
    wrong.into_iter().map(|(_, what)| what + "\n").collect()
}

#[test]
fn nothing_is_wrong_with_a_round_without_a_lie() {
    assert_eq!(after(|_| {}), "");
}

macro_rules! finds {
    ($($name:ident: |$evidence:ident| $lie:expr, $text:expr;)*) => { $(
        #[test]
        fn $name() {
            let wrong = after(|$evidence| { $lie; });
            assert!(wrong.contains($text), "{wrong:?}");
        }
    )* };
}

finds! {
    a_lost_job_is_found: |evidence| evidence.rows.remove(0), "it is lost";
    a_stored_job_that_was_never_there_is_found: |evidence| {
        evidence.rows.remove(0);
        evidence.changes.retain(|change| change.job != 10)
    }, "number 0 was stored as 10, and is not there";
    a_job_that_does_not_end_is_found: |evidence| {
        evidence.changes.pop();
        evidence.rows[3].state = "running".to_owned()
    }, "it has not ended: running";
    a_second_end_is_found: |evidence| {
        let again = evidence.changes[2].clone();
        evidence.changes.insert(3, again)
    }, "it has 2 ends, and was tried again 0 times";
    a_job_that_is_tried_again_by_itself_is_found: |evidence| {
        let again = Change { old: side("discarded", 1, 1, 70), new: side("available", 0, 2, 70), ..evidence.changes[5].clone() };
        evidence.changes.insert(6, again)
    }, "it was tried again after its end, and nobody asked for it";
    a_change_after_the_end_is_found: |evidence| {
        let end = side("completed", 1, 1, 70);
        let change = Change { old: end.clone(), new: end, ..evidence.changes[2].clone() };
        evidence.changes.insert(3, change)
    }, "changed while it stayed completed";
    a_value_of_no_run_is_found: |evidence| evidence.rows[0].run = Some("rz".to_owned()), "which is no run of it";
    a_value_of_another_jobs_run_is_found: |evidence| evidence.rows[0].run = Some("rd".to_owned()), "which is no run of it";
    a_value_of_a_run_that_did_not_end_is_found: |evidence| {
        evidence.ledger.runs.get_mut("ra").expect("a run").end = None
    }, "which did not end so";
    a_value_of_a_process_that_does_not_hold_the_job_is_found: |evidence| {
        evidence.changes[2].old.as_mut().expect("a side").process = Some(99)
    }, "Some(99) held it";
    a_row_of_the_program_without_an_end_is_found: |evidence| evidence.bookings.insert(2, 2), "has 2 rows of the program, and 1 ends";
    an_end_without_its_row_of_the_program_is_found: |evidence| evidence.bookings.clear(), "has 0 rows of the program, and 1 ends";
    a_run_of_what_was_never_stored_is_found: |evidence| {
        evidence.ledger.runs.get_mut("ra").expect("a run").job = 99
    }, "ra ran number 0, and what is stored is None";
    a_refused_job_that_is_stored_is_found: |evidence| {
        evidence.changes.extend(life(14, REFUSED, 70, "completed"))
    }, "number 5 is there as [14]";
    a_job_that_is_stored_twice_is_found: |evidence| {
        evidence.changes.extend(life(14, 0, 70, "completed"))
    }, "number 0 is there as [10, 14]";
    two_live_jobs_with_one_key_are_found: |evidence| {
        let second = life(14, 4, 71, "completed");
        evidence.changes.insert(10, second[0].clone());
        evidence.changes.extend_from_slice(&second[1..])
    }, "the jobs {13, 14} of key 1 live at once";
    a_second_run_of_one_claim_is_found: |evidence| {
        let run = evidence.ledger.runs["ra"].clone();
        evidence.ledger.runs.insert("re".to_owned(), run)
    }, "process 70 claimed it 1 times, and ran it 2 times";
    an_attempt_that_a_crash_took_and_counted_is_found: |evidence| {
        let mut back = side("available", 1, 1, 70);
        back.as_mut().expect("a side").crashes = 1;
        evidence.changes[2].new = back
    }, "its attempts went from 1 to 1 when it went from running to available";
    one_failure_too_many_is_found: |evidence| {
        let failure = evidence.changes[5].clone();
        evidence.changes.insert(6, failure)
    }, "it failed 2 times, and may fail Some(1) times";
    a_job_that_outlives_its_crashes_is_found: |evidence| {
        let mut back = side("available", 0, 1, 70);
        back.as_mut().expect("a side").crashes = CRASH_LIMIT;
        evidence.changes[2].new = back
    }, "it lives on after 5 crashes";
    an_error_that_is_recorded_twice_is_found: |evidence| {
        let error = evidence.rows[1].errors[0].clone();
        evidence.rows[1].errors.push(error)
    }, "the error of \"rb\" is recorded twice";
    an_error_of_no_failed_run_is_found: |evidence| {
        evidence.rows[1].errors[0] = "fails run=ra".to_owned()
    }, "no run of it failed so";
    an_end_that_its_kind_cannot_have_is_found: |evidence| {
        evidence.rows[0].state = "discarded".to_owned()
    }, "a job of its kind does not end so";
    a_cancellation_that_nobody_asked_for_is_found: |evidence| {
        evidence.rows[0].state = "cancelled".to_owned()
    }, "it is cancelled, and nobody asked for it";
    an_outcome_that_is_another_in_another_process_is_found: |evidence| {
        evidence.ledger.outcomes[1].2 = "done rd 0".to_owned()
    }, "process 71 read the outcome";
    a_version_that_shrinks_is_found: |evidence| {
        evidence.changes[2].old.as_mut().expect("a side").version = 7
    }, "its version went from 7 to 1";
    a_process_that_ends_badly_is_found: |evidence| {
        evidence.ended[0] = "exit status: 101".to_owned()
    }, "ended with exit status: 101";
}
