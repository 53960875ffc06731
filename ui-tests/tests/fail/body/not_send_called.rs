use std::rc::Rc;

async fn helper() {
    let counted = Rc::new(1);
    std::future::ready(()).await;
    drop(counted);
}

#[bgtask::background]
async fn task() {
    helper().await;
}

fn main() {}
