use bgtask::{State, spawn};

fn main() {
    spawn!("sync", |a: State<u8>, b: State<u8>, c: State<u8>, d: State<u8>, e: State<u8>, f: State<u8>, g: State<u8>| {
        drop((a, b, c, d, e, f, g));
    });
}
