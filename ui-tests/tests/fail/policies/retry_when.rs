use bgtask::background;

struct Fatal;

#[background(retry(when = |error: &u32| *error > 1))]
async fn another_error(n: u32) -> Result<(), Fatal> {
    drop(n);
    Err(Fatal)
}

#[background(retry(when = |error| error.is_passing()))]
async fn no_such_method() -> Result<(), Fatal> {
    Err(Fatal)
}

#[background(retry(when = is_passing, panics))]
async fn not_a_result() -> u32 {
    1
}

fn is_passing(_: &Fatal) -> bool {
    true
}

fn main() {
    another_error(1);
    no_such_method();
    not_a_result();
}
