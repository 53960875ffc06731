fn takes_a_future(_: impl Future<Output = u32>) {}

#[bgtask::background]
async fn task() -> u32 {
    1
}

fn main() {
    takes_a_future(task());
    takes_a_future(task);
}
