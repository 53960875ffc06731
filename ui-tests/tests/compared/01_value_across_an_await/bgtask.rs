//! The same, and it points at the function rather than at its callers: there is one of it, and many of them.
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
