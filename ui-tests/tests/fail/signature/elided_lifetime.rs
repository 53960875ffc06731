#[bgtask::background]
async fn task(key: std::borrow::Cow<'_, str>) {}

fn main() {
    task("".into());
}
