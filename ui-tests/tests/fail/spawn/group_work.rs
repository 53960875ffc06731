use bgtask::{Group, spawn};
use std::rc::Rc;

fn members(group: &Group, text: &str) {
    let captured = Rc::new(1);
    spawn!(in group, "not send", move || drop(captured));
}

fn borrows(group: &Group, text: &str) {
    spawn!(in group, "borrows", async move { println!("{text}") });
}

fn main() {
    members(&Group::new(), "");
    borrows(&Group::new(), "");
}
