use std::rc::Rc;

#[bgtask::background]
fn task(counted: Rc<u32>) {
    drop(counted);
}

fn main() {}
