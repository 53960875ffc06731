use bgtask::spawn;

fn blocking() -> u32 {
    1
}

fn main() {
    spawn!("sync", blocking);
    spawn!("sync", blocking());
    spawn!("sync", timeout = "30s", blocking());
    spawn!("sync", println!("x"));
    spawn!("sync", {
        let number = blocking();
        let work = move || number;
        work
    });
}
