#[bgtask::main]
async fn main(number: u32) {
    drop(number);
}
