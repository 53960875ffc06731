#[bgtask::background]
async fn task(number: u32) {
    drop(numbr);
    absent::function(number).await;
}

fn main() {
    task(1);
}
