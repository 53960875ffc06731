use bgtask::spawn;

fn takes(text: &str) {
    spawn!("sync", async move { println!("{text}") });
}

fn main() {
    let text = String::new();
    takes(&text);
    spawn!("sync", async { println!("{text}") });
    spawn!("sync", || println!("{text}"));
    spawn!("sync", |token| async { drop((token, &text)) });
}
