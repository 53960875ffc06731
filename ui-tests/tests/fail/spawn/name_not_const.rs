use bgtask::spawn;

fn main() {
    let name = "sync";
    spawn!(name, async {});
    spawn!(format!("sync {name}"), async {});
    spawn!("", async {});
}
