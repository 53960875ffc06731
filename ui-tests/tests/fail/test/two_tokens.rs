use bgtask::ShutdownToken;

#[bgtask::test]
async fn saves(one: ShutdownToken, other: ShutdownToken) {
    let _ = (one, other);
}

fn main() {}
