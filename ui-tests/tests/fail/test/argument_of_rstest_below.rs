use bgtask::ShutdownToken;

#[bgtask::test]
#[rstest]
async fn saves(#[case] page: u32, _shutdown: ShutdownToken) {
    let _ = page;
}

fn main() {}
