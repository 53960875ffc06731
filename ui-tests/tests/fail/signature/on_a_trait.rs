#[bgtask::background]
trait Work {
    fn work(&self);
}

fn main() {
    let _: Option<&dyn Work> = None;
}
