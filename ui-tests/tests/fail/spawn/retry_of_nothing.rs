use bgtask::spawn;

fn main() {
    spawn!("sync", retry(max = 3), async {});
    spawn!("sync", retry(max = 3), || ());
}
