//! As good: both speak of a closure, ours of one the user did not write, but at the function and not at a call.
use std::rc::Rc;

#[bgtask::background]
fn task(counted: Rc<u32>) {
    drop(counted);
}

fn main() {
    task(Rc::new(1));
}
