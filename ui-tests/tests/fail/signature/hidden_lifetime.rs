// No macro can detect this lifetime. The compiler reports it at the parameter.
struct Borrowed<'a>(&'a str);

#[bgtask::background]
async fn task(key: Borrowed) {
    drop(key.0);
}

fn main() {
    task(Borrowed(&String::new()));
}
