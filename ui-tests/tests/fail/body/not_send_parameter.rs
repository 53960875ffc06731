use std::rc::Rc;

#[bgtask::background]
async fn task(counted: Rc<u32>) {
    drop(counted);
}

fn main() {}
