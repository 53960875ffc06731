//! Captures: moved, copied, by destructuring, used after the call.
use bgtask::spawn;
use std::sync::Arc;

struct Pair {
    left: String,
    right: String,
}

#[test]
fn runs() {
    crate::run(async {
        let pair = Pair {
            left: "left".into(),
            right: "right".into(),
        };
        let left = spawn!("a field", coalesce(key = pair.left), async move {
            pair.left.len()
        });
        assert_eq!(pair.right.len(), 5);
        assert_eq!(left.await, Ok(4));
        let shared = Arc::new(1);
        let handle = {
            let shared = shared.clone();
            spawn!("an arc", retry(panics), async move { *shared })
        };
        assert_eq!(handle.await, Ok(*shared));
        let (mut count, name) = (1, "x");
        let handle = spawn!("copies", async move {
            count += 1;
            (count, name)
        });
        count += 10;
        assert_eq!((handle.await, count), (Ok((2, "x")), 11));
        let text = String::from("by use");
        assert_eq!(
            spawn!("without move", async { text.into_bytes().len() }).await,
            Ok(6)
        );
    });
}
