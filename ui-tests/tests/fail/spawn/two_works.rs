use bgtask::spawn;

fn fetch(page: u8) -> std::future::Ready<u8> {
    std::future::ready(page)
}

fn main() {
    spawn!("sync", async {}, async {});
    spawn!("sync", || {}, || {});
    spawn!("sync", || async {}, 1);
    spawn!("sync", || 1 + 1, 1);
    spawn!("sync", || -> u8 { 1 }, 1);
    spawn!("sync", async {} async {});
    spawn!("sync", self::fetch(1), fetch(2));
    spawn!("sync", fetch(1), fetch(2));
}
