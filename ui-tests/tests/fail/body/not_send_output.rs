use std::rc::Rc;

#[bgtask::background]
async fn task() -> Rc<u32> {
    Rc::new(1)
}

fn main() {}
