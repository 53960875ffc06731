//! Better: it points at the output, where the compiler points at the call and does not mention the output.
use std::rc::Rc;

#[bgtask::background]
async fn task() -> Rc<u32> {
    Rc::new(1)
}

fn main() {
    task();
}
