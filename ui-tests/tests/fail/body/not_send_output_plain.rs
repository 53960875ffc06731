use std::rc::Rc;

#[bgtask::background]
fn task() -> Rc<u32> {
    Rc::new(1)
}

fn main() {}
