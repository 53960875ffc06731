//! Two background functions with one name.

mod one {
    #[bgtask::background(name = "send mail")]
    pub(crate) async fn send() {}
}

mod two {
    #[bgtask::background(name = "send mail")]
    pub(crate) async fn send() {}
}

#[bgtask::main]
async fn main() {
    one::send();
    two::send();
}
