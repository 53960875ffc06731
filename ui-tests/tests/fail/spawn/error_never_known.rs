use bgtask::spawn;

fn main() {
    spawn!("sync", async { Ok(1) });
}
