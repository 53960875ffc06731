use bgtask::{Group, spawn};

struct Server {
    connections: Group,
}

fn starts(group: &Group, server: &Server) {
    spawn!("sync", in group, async {});
    spawn!(group, "sync", async {});
    spawn!(&group, "sync", timeout = "1s", || ());
    spawn!(server.connections, "sync", async {});
    spawn!(group = &group, "sync", async {});
    spawn!("sync", in &group, timeout = "1s", async {});
    spawn!("sync", async {}, in &group);
    spawn!("sync", async {}, &group);
    spawn!("sync" in &group, async {});
    spawn!(in &group "sync", async {});
}

fn main() {
    let connections = Group::new();
    starts(&Group::new(), &Server { connections });
}
