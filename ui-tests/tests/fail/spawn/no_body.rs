use bgtask::spawn;

fn main() {
    spawn!("sync", move |token|);
    spawn!("sync", async move |token|);
    spawn!("sync", |token async {});
}
