//! `?`, `return` and `break` in the work apply to the work.
use bgtask::spawn;
use std::num::ParseIntError;

async fn outer() -> Result<u8, bgtask::TaskError> {
    let parsed = spawn!("asks", async {
        let number: u8 = "1".parse()?;
        if number == 0 {
            return Ok(0);
        }
        let more = loop {
            break 1;
        };
        Ok::<u8, ParseIntError>(number + more)
    });
    let in_blocking = spawn!("asks and blocks", move || -> Result<u8, ParseIntError> {
        let number: u8 = "3".parse()?;
        return Ok(number);
    });
    Ok(parsed.await?.unwrap() + in_blocking.await?.unwrap())
}

#[test]
fn runs() {
    crate::run(async { assert_eq!(outer().await, Ok(5)) });
}
