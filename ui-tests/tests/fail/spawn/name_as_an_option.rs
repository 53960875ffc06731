use bgtask::spawn;

fn main() {
    spawn!(name = "sync", async {});
    spawn!("sync", name = "another", async {});
}
