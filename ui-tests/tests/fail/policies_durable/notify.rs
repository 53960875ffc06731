use bgtask::background;

#[background(durable(notify = url))]
async fn no_channel(url: String) {
    let _ = url;
}

#[background(durable(notify = webhook(url)))]
async fn not_imported(url: String) {
    let _ = url;
}

fn main() {}
