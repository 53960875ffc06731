//! The cost that a thousand background functions add to the start of a program.

use crate::call::{callgrind, median};
use crate::host::{Flavor, Served};
use bgtask::Manager;
use std::hint::black_box;
use std::time::Instant;

/// Ten functions in each of ten modules, in each of ten modules.
macro_rules! thousand {
    ($($hundred:ident)+) => {$(
        mod $hundred {
            thousand!(@hundred a b c d e f g h i j);
        }
    )+};
    (@hundred $($ten:ident)+) => {$(
        mod $ten {
            thousand!(@ten a b c d e f g h i j);
        }
    )+};
    (@ten $($name:ident)+) => {$(
        #[allow(dead_code, reason = "what counts is that it is there")]
        #[bgtask::background]
        async fn $name() {}
    )+};
}
thousand!(a b c d e f g h i j);

/// The child process: builds its first manager, including the check of the linked handlers, and prints the microseconds.
pub(crate) fn measure() {
    let runtime = Flavor::CurrentThread.runtime();
    let start = Instant::now();
    let manager = Manager::builder().install_on(runtime.handle());
    black_box(&manager).as_ref().expect("the only manager");
    println!("{}", start.elapsed().as_secs_f64() * 1e6);
}

pub(crate) struct Startup {
    pub(crate) functions: usize,
    /// The median of many children.
    pub(crate) first_manager_us: f64,
    /// Instructions before `main` that register the functions in the list of handlers.
    pub(crate) before_main: Option<f64>,
}

pub(crate) fn startup() -> Startup {
    let time = || {
        let mut child = Served::start(&["startup"]);
        let time = child.answer();
        child.end();
        time
    };
    Startup {
        functions: bgtask::handlers().len(),
        first_manager_us: median((0..51).map(|_| time()).collect()),
        before_main: callgrind(&["startup"], &["--toggle-collect=*__ctor*"]),
    }
}
