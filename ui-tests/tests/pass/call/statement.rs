//! The call as a statement, as an arm, as a tail: the handle may be ignored.
#![deny(unused_must_use, unused_results)]
use bgtask::background;

#[background]
async fn task(number: u32) -> Result<u32, std::fmt::Error> {
    Ok(number)
}

#[allow(unused_results)]
fn forgets(number: Option<u32>) {
    task(1);
    match number {
        Some(number) => drop(task(number)),
        None => {
            let _ = task(0);
        }
    }
    if number.is_some() {
        task(2);
    }
}

#[test]
fn runs() {
    crate::run(async { forgets(Some(3)) });
}
