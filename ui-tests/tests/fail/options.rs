#[bgtask::background(nmae = "x")]
async fn unknown() {}

#[bgtask::background(schedule = "x")]
async fn unknown_and_near_nothing() {}

#[bgtask::background(log = "info", log = "info")]
async fn twice() {}

#[bgtask::background(name)]
async fn no_value() {}

#[bgtask::background(name("x"))]
async fn no_equals() {}

#[bgtask::background(name = "")]
async fn empty() {}

#[bgtask::background(name = 1)]
async fn not_a_string() {}

#[bgtask::background(log = "loud")]
async fn not_a_level() {}

#[bgtask::background(on_shutdown = "wait")]
async fn not_a_choice() {}

#[bgtask::background(on_shutdown = "cancel")]
fn cannot_be_dropped() {}

#[bgtask::background(crate = "bgtask")]
async fn relative() {}

#[bgtask::background("x")]
async fn no_key() {}

#[bgtask::background(log = "info" name = "x")]
async fn no_comma() {}

fn main() {
    unknown();
    unknown_and_near_nothing();
    twice();
    no_value();
    no_equals();
    empty();
    not_a_string();
    not_a_level();
    not_a_choice();
    cannot_be_dropped();
    relative();
    no_key();
    no_comma();
}
