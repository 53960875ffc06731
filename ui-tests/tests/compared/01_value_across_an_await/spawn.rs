//! A value that is not `Send` across an await
use std::rc::Rc;

async fn task() {
    let counted = Rc::new(1);
    std::future::ready(()).await;
    drop(counted);
}

fn main() {
    tokio::spawn(task());
}
