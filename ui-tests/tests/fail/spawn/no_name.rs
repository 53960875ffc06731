use bgtask::spawn;

fn main() {
    spawn!(async move {});
    spawn!(move |token| async move { drop(token) });
    spawn!(|| ());
    spawn!(std::future::ready(1));
    spawn!(timeout = "30s", async {});
    spawn!(retry(max = 3), || async { Ok::<(), String>(()) });
    spawn!(, async {});
}
