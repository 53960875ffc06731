use bgtask::spawn;

fn main() {
    spawn!("sync", timeout = "1s", move |token| async move {
        undefined();
        token.cancel_now();
    });
}
