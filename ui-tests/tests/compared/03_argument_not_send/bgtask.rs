//! The same, and it names the parameter rather than the expression in one of the calls.
use std::rc::Rc;

#[bgtask::background]
async fn task(counted: Rc<u32>) {
    drop(counted);
}

fn main() {
    task(Rc::new(1));
}
