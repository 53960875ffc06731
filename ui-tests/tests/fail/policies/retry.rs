use bgtask::background;

#[background(retry(max = 1))]
async fn never_again() -> Result<(), String> {
    Ok(())
}

#[background(retry(base = "1m"))]
async fn base_past_the_cap() -> Result<(), String> {
    Ok(())
}

#[background(retry(max = 3, max = 4))]
async fn twice() -> Result<(), String> {
    Ok(())
}

#[background(retry(backof = "linear", cap = "soon"))]
async fn several_at_once() -> Result<(), String> {
    Ok(())
}

#[background(retry)]
async fn cannot_fail(key: String) {
    drop(key)
}

fn main() {
    cannot_fail(String::new());
}
