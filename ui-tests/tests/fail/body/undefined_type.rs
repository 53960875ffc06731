#[bgtask::background]
async fn task(number: Absent) -> AlsoAbsent {
    number.into()
}

fn main() {
    task(1);
}
