use bgtask::spawn;

fn main() {
    let work = || 1;
    spawn!("sync", work);
}
