use bgtask::spawn;

fn main() {
    spawn!("sync", timout = "30s", async {});
    spawn!("sync", timeout = "30", async {});
    spawn!("sync", timeout = "1s", timeout = "2s", async {});
    spawn!("sync", timeout, async {});
    spawn!("sync", retry(max = 1), async { Ok::<(), String>(()) });
    spawn!("sync", retry(nax = 2), async { Ok::<(), String>(()) });
    spawn!("sync", concurrency = 0, async {});
    spawn!("sync", concurrency = 1, coalesce, async {});
    spawn!("sync", key = 1, async {});
    spawn!("sync", log = "off", warn_after = "1s", async {});
    spawn!("sync", grace = "1s", async {});
    spawn!("sync", log = "loud" timeout = "1s", async {});
}
