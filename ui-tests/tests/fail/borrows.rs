use std::borrow::Cow;

#[bgtask::background]
async fn reference(key: &str, keys: Vec<&mut String>) {}

#[bgtask::background]
async fn lifetime<'a>(key: &'a str) {}

#[bgtask::background]
async fn hidden(key: Cow<'_, str>, (a, b): (&str, u32)) {}

#[bgtask::background]
async fn output() -> &str {
    ""
}

fn main() {
    reference("", vec![]);
    lifetime("");
    hidden("".into(), ("", 1));
    output();
}
