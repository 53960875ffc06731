//! As good: both name a closure. The user did not write ours, but the message is at the function and not at a call.
use std::rc::Rc;

#[bgtask::background]
fn task(counted: Rc<u32>) {
    drop(counted);
}

fn main() {
    task(Rc::new(1));
}
