use bgtask::{State, spawn};
use std::cell::Cell;
use std::rc::Rc;

fn main() {
    spawn!("sync", |State(cell): State<Cell<u8>>| drop(cell));
    spawn!("sync", move |held: State<Rc<u8>>| async move { drop(held) });
}
