//! A plain function with an argument that is not `Send`
use std::rc::Rc;

fn task(counted: Rc<u32>) {
    drop(counted);
}

fn main() {
    let counted = Rc::new(1);
    tokio::task::spawn_blocking(move || task(counted));
}
