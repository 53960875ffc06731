use std::rc::Rc;

#[bgtask::background]
fn task() -> Result<(), Rc<u32>> {
    Err(Rc::new(1))
}

fn main() {}
