#[bgtask::background]
pub struct Structure;

#[bgtask::background]
const NUMBER: u32 = 1;

trait Trait {
    #[bgtask::background]
    async fn no_body();
}

fn main() {
    let _ = (Structure, NUMBER);
}
