// No macro sees this one: the compiler says it, at the parameter.
struct Borrowed<'a>(&'a str);

#[bgtask::background]
async fn task(key: Borrowed) {
    drop(key.0);
}

fn main() {
    task(Borrowed(&String::new()));
}
