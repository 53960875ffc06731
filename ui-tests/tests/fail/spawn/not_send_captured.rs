use bgtask::spawn;
use std::rc::Rc;

fn main() {
    let captured = Rc::new(1);
    spawn!("sync", async move { drop(captured) });
}
