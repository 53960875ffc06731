#[bgtask::test]
async fn saves(page: u32) {
    let _ = page;
}

fn main() {}
