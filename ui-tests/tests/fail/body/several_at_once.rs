// What is wrong in a body is all said too.
#[bgtask::background]
async fn task(number: u32) -> u32 {
    let text: String = number;
    number.absent();
    text
}

fn main() {
    task("text");
}
