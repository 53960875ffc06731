#[bgtask::background]
async fn task(call: Box<dyn Fn() + Send + '_>) {
    call();
}

fn main() {
    task(Box::new(|| {}));
}
