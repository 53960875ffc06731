use bgtask::spawn;
use std::rc::Rc;

fn main() {
    spawn!("sync", async move || {
        let held = Rc::new(1);
        std::future::ready(()).await;
        drop(held);
    });
}
