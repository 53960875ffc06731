#[bgtask::background]
async fn task(text: String) {
    let name = &text;
    helper(name);
}

fn main() {
    task(String::new());
}

#[bgtask::background]
async fn helper(name: &'static String) {
    drop(name);
}
