use bgtask::spawn;

fn main() {
    let text = String::new();
    spawn!("sync", async move { drop(text) });
    println!("{text}");
}
