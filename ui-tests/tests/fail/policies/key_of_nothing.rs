use bgtask::background;

#[background(coalesce(key = nobody))]
async fn no_such_parameter(key: String) {
    drop(key)
}

#[background(coalesce(key = token))]
async fn a_parameter_that_is_filled_in(token: bgtask::ShutdownToken) {
    token.cancelled().await
}

fn main() {
    no_such_parameter(String::new());
    a_parameter_that_is_filled_in();
}
