use bgtask::spawn;
use std::rc::Rc;

fn main() {
    spawn!("sync", timeout = "30s", move |token| async move {
        let held = Rc::new(1);
        token.cancelled().await;
        drop(held);
    });
}
