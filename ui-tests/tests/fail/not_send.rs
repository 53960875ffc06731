use std::rc::Rc;

#[bgtask::background]
async fn holds_an_rc() {
    let counted = Rc::new(1);
    std::future::ready(()).await;
    drop(counted);
}

#[bgtask::background]
async fn returns_an_rc() -> Rc<u32> {
    Rc::new(1)
}

#[bgtask::background]
fn takes_an_rc(counted: Rc<u32>) {
    drop(counted);
}

fn main() {}
