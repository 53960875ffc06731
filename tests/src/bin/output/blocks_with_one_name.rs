//! Blocks with one name: at two sites, in the repetition of a macro, and beside a function.

macro_rules! twice {
    ($($number:literal)*) => {
        $(bgtask::spawn!("send mail", async { $number });)*
    };
}

#[bgtask::background(name = "send mail")]
async fn send() {}

#[bgtask::main]
async fn main() {
    send();
    bgtask::spawn!("send mail", async {});
    bgtask::spawn!("send mail", || ());
    twice!(1 2);
}
