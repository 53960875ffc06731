use bgtask::spawn;

fn main() {
    spawn!("sync", every = "5m", async {});
    spawn!("sync", cron = "0 3 * * *", timezone = "UTC", async {});
    spawn!("sync", on_start, restart(max = 5), async {});
    spawn!("sync", jitter = "1s", immediately, overlap, missed = "skip", async {});
}
