// All of it is said at once, and the caller of what is wrong is not.
use bgtask::{ShutdownToken, TaskHandle};

#[bgtask::background(naem = "x", log = "loud")]
pub unsafe fn task(a: &str, token: ShutdownToken, second: ShutdownToken, b: u32) -> u32 {
    does_not_matter
}

fn main() {
    let handle: TaskHandle<u32> = task("", 1);
    drop(handle);
}
