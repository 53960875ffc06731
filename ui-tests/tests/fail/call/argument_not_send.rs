use std::rc::Rc;

#[bgtask::background]
async fn task<T: Send + 'static>(value: T) {
    drop(value);
}

fn main() {
    task(Rc::new(1));
}
