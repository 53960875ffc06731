use bgtask::spawn;

fn main() {
    let url = "https://example.com";
    spawn!("sync", fields(url = %url), async move { let _ = url; });
}
