use bgtask::spawn;
use std::rc::Rc;

fn by_an_async_block() {
    let captured = Rc::new(1);
    spawn!("sync", |token| async move {
        token.cancelled().await;
        println!("{captured}");
    });
}

fn by_an_async_closure() {
    let captured = Rc::new(1);
    spawn!("sync", async move |token| {
        token.cancelled().await;
        println!("{captured}");
    });
}

fn main() {}
