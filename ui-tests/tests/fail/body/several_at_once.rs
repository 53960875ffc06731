// The compiler also reports every error in a body.
#[bgtask::background]
async fn task(number: u32) -> u32 {
    let text: String = number;
    number.absent();
    text
}

fn main() {
    task("text");
}
