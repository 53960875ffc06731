#[bgtask::background]
async fn refresh_cache() {}

fn main() {
    refresh_cahce();
}
