use bgtask::spawn;
use std::rc::Rc;

fn main() {
    let captured = Rc::new(1);
    spawn!("sync", move || drop(captured));
    let captured = Rc::new(1);
    spawn!("sync", retry(panics), move |token| {
        drop(token);
        println!("{captured}");
    });
}
