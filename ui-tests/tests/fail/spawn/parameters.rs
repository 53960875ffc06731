use bgtask::{ShutdownToken, State, spawn};

fn main() {
    spawn!("sync", |url: String| async move { drop(url) });
    spawn!("sync", |token, pool| async move { drop((token, pool)) });
    spawn!("sync", |(left, right)| async move { drop((left, right)) });
    spawn!("sync", |token: &ShutdownToken| drop(token));
    spawn!("sync", |one: ShutdownToken, two: ShutdownToken| drop((one, two)));
    spawn!("sync", timout = "1s", |url: String, State(pool): State<u8>| drop((url, pool)));
}
