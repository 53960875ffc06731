use bgtask::{Group, spawn};

fn starts(group: &Group) {
    spawn!("sync", in group, async {});
    spawn!(group, "sync", async {});
    spawn!(&group, "sync", timeout = "1s", || ());
}

fn main() {
    starts(&Group::new());
}
