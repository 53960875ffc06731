use bgtask::spawn;
use std::rc::Rc;

fn main() {
    spawn!("sync", async { Rc::new(1) });
    spawn!("sync", || Rc::new(1));
}
