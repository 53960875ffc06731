#[bgtask::background]
async fn task() -> Result<u32, std::fmt::Error> {
    Ok(1)
}

async fn caller() -> Result<u32, Box<dyn std::error::Error>> {
    let number: u32 = task().await?;
    Ok(number)
}

fn main() {
    drop(caller());
}
