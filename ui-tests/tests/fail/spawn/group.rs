use bgtask::spawn;

fn main() {
    spawn!(in, "sync", async {});
    spawn!(in &group, "sync", async {});
}
