use bgtask::{Group, spawn};

fn main() {
    spawn!(in, "sync", async {});
    spawn!(in &, "sync", async {});
    let group = Group::new();
    spawn!(in group, "sync", async {});
    spawn!(in &1, "sync", async {});
    spawn!(in &group, timeout = "1s", async {});
}
