// Every error is reported at once, and none for the caller of the wrong function.
use bgtask::{ShutdownToken, TaskHandle};

#[bgtask::background(naem = "x", log = "loud")]
pub unsafe fn task(a: &str, token: ShutdownToken, second: ShutdownToken, b: u32) -> u32 {
    does_not_matter
}

fn main() {
    let handle: TaskHandle<u32> = task("", 1);
    drop(handle);
}
