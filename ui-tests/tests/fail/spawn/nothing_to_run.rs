use bgtask::spawn;

fn main() {
    spawn!("sync");
    spawn!("sync",);
    spawn!("sync", timeout = "30s");
    spawn!("sync", retry(max = 3));
    spawn!(in &group, "sync");
}
