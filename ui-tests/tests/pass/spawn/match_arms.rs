//! In the arms of a match, and as the ends of blocks.
use bgtask::{TaskHandle, spawn};

fn start(number: u32) -> Option<TaskHandle<u32>> {
    Some(match number {
        0 => spawn!("zero", async { 0 }),
        1 => spawn!("one", || 1),
        2 => {
            let number = number + 1;
            spawn!("many", move || async move { number })
        }
        _ => return None,
    })
}

#[test]
fn runs() {
    crate::run(async {
        for (number, came) in [(0, 0), (1, 1), (2, 3)] {
            assert_eq!(start(number).unwrap().await, Ok(came));
        }
        assert!(start(3).is_none());
        let Some(handle) = (if start(0).is_some() {
            Some(spawn!("in an if", async {}))
        } else {
            None
        }) else {
            return;
        };
        handle.await.unwrap();
    });
}
