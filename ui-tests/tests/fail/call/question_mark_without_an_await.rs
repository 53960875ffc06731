#[bgtask::background]
async fn task() -> Result<u32, std::fmt::Error> {
    Ok(1)
}

fn main() -> Result<(), std::fmt::Error> {
    let number = task()?;
    drop(number);
    Ok(())
}
