#[bgtask::background]
async fn task() -> std::borrow::Cow<'_, str> {
    "".into()
}

fn main() {
    task();
}
