#[bgtask::test(flavor = "single", drain)]
fn saves(page: u32) {
    let _ = page;
}

fn main() {}
