#![deny(unused)]
use bgtask::ShutdownToken;

#[bgtask::main]
async fn main(shutdown: ShutdownToken) {
    let variable = 1;
    std::future::ready(1);
}
