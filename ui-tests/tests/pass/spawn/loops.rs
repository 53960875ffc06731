//! In loops.
use bgtask::spawn;

#[test]
fn runs() {
    crate::run(async {
        let mut handles = Vec::new();
        for number in 0..3 {
            handles.push(spawn!("in a loop", async move { number }));
        }
        let mut left = 3;
        while left > 0 {
            left -= 1;
            spawn!("as a statement", async move { left });
        }
        let last = loop {
            break spawn!("as a value", async { 3 });
        };
        handles.push(last);
        for (number, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.await, Ok(number));
        }
    });
}
