#[bgtask::main]
async fn serve(#[cfg(unix)] socket: String) {}

fn main() {}
