use bgtask::ShutdownToken;

#[bgtask::background]
async fn task(token: &'static mut ShutdownToken) {}

fn main() {
    task();
}
