use bgtask::spawn;

const MAX: usize = 3;
const LIMIT: &str = "30s";

fn main() {
    spawn!("sync", retry(max = MAX), async { Err::<(), String>(String::new()) });
    spawn!("sync", timeout = LIMIT, async {});
}
