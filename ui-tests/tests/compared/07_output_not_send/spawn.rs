//! An output that is not `Send`
use std::rc::Rc;

async fn task() -> Rc<u32> {
    Rc::new(1)
}

fn main() {
    tokio::spawn(task());
}
