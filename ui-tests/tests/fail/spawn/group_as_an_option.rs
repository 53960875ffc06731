use bgtask::{Group, spawn};

struct Server {
    connections: Group,
}

impl Server {
    fn starts(&self) {
        spawn!("sync", self.connections, async {});
        spawn!("sync", &self.connections, timeout = "1s", async {});
    }
}

fn starts(group: &Group) {
    spawn!("sync", group, async {});
    spawn!("sync", group = group, async {});
    spawn!("sync", timeout = "1s", group = &group, || ());
    spawn!("sync" async {});
}

fn main() {
    starts(&Group::new());
}
