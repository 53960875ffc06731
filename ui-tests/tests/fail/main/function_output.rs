use bgtask::ShutdownToken;

#[bgtask::main]
async fn serve(port: u16) -> ! {
    std::future::pending().await
}

#[bgtask::main]
async fn listen(a: ShutdownToken, port: u16, b: ShutdownToken) -> impl Send {}

#[bgtask::main]
async fn connect(token: &ShutdownToken, port: u16) {}

fn main() {}
