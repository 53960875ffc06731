//! The same, and it points at the one function instead of its many callers.
use std::rc::Rc;

#[bgtask::background]
async fn task() {
    let counted = Rc::new(1);
    std::future::ready(()).await;
    drop(counted);
}

fn main() {
    task();
}
