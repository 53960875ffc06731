use bgtask::spawn;

async fn fetch() -> Result<(), String> {
    Ok(())
}

fn main() {
    spawn!("sync", retry(max = 3), fetch());
    let future = fetch();
    spawn!("sync", retry, future);
}
