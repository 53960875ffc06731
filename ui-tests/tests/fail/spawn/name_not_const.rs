use bgtask::spawn;

const fn named() -> &'static str {
    "sync"
}

struct Config {
    name: &'static str,
}

impl Config {
    fn start(&self) {
        spawn!(self.name, async {});
    }
}

fn main() {
    let name = "sync";
    spawn!(name, async {});
    spawn!(&name, async {});
    spawn!(name.trim(), async {});
    spawn!(format!("sync {name}"), async {});
    spawn!("", async {});
    spawn!(named(), async {});
    Config { name }.start();
}
