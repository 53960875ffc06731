//! Loops with labels, `match`, `let … else`, and values they break with.
use bgtask::background;

#[background]
async fn task(numbers: Vec<u32>) -> Option<u32> {
    let Some(&first) = numbers.first() else {
        return None;
    };
    let found = 'outer: loop {
        for &number in &numbers {
            if number > first {
                break 'outer Some(number);
            }
            tokio::task::yield_now().await;
        }
        break None;
    };
    match found {
        Some(number) if number % 2 == 0 => Some(number),
        _ => None,
    }
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(task(vec![1, 4]).await, Ok(Some(4)));
        assert_eq!(task(vec![]).await, Ok(None));
    });
}
