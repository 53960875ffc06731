//! An argument that is not `Send`
use std::rc::Rc;

async fn task(counted: Rc<u32>) {
    drop(counted);
}

fn main() {
    tokio::spawn(task(Rc::new(1)));
}
