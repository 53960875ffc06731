//! More parameters than any real function has.
use bgtask::{ShutdownToken, background};

#[background]
#[allow(clippy::too_many_arguments)]
async fn many(
    a: u8,
    b: u8,
    c: u8,
    d: u8,
    e: u8,
    f: u8,
    g: u8,
    h: u8,
    token: ShutdownToken,
    i: u8,
    j: u8,
    k: u8,
    l: u8,
    m: u8,
    n: u8,
    o: u8,
) -> u32 {
    let all = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o];
    u32::from(!token.is_cancelled()) + all.into_iter().map(u32::from).sum::<u32>()
}

#[test]
fn runs() {
    crate::run(async {
        assert_eq!(
            many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15).await,
            Ok(121)
        )
    });
}
