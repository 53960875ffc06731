use bgtask::ShutdownToken;

#[bgtask::main]
async fn serve(port: u16, shutdown: ShutdownToken) -> Result<(), String> {
    drop((port, shutdown));
    Ok(())
}

fn main() {
    let _: () = serve("3000");
    serve(3000, 1);
}
