#![deny(unused)]

#[bgtask::background]
async fn task(parameter: u32) {
    let variable = 1;
}

#[bgtask::background]
fn plain(parameter: u32, mut other: u32) -> u32 {
    other
}

#[bgtask::background]
async fn with_cfg(#[cfg(any())] gone: u32, parameter: u32) {}

fn main() {
    task(1);
    plain(1, 2);
    with_cfg(1);
}
