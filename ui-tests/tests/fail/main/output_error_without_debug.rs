struct NoDebug;

#[bgtask::main]
async fn main() -> Result<(), NoDebug> {
    Ok(())
}
