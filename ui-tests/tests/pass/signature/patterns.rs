//! Patterns instead of names.
use bgtask::background;

struct Point {
    x: u32,
    y: u32,
}

#[background]
async fn asynchronous(
    (a, b): (u32, u32),
    Point { x, y: renamed }: Point,
    [c, ..]: [u32; 2],
    _: String,
) -> u32 {
    a + b + x + renamed + c
}

#[background]
fn plain((mut sum, ..): (u32, String, u32), ref by_ref @ Point { x, .. }: Point) -> u32 {
    sum += x + by_ref.y;
    sum
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(
            asynchronous((1, 2), Point { x: 3, y: 4 }, [5, 6], String::new()).await,
            Ok(15)
        );
        assert_eq!(
            plain((1, String::new(), 2), Point { x: 3, y: 4 }).await,
            Ok(8)
        );
    });
}
