//! Counts of calls, assertions about them, and declared failures.

use super::failure::FailureKind;
use super::function::{BackgroundFunction, Function};
use super::record::{Expected, State};

/// Returns how many calls of the function were made in this test, whatever has become of them. Calls that have joined a run, were
/// skipped or replaced, or wait count too. Refused calls do not count.
///
/// See [`runs`] for the number of runs that resulted.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn refresh() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// refresh();
/// assert_eq!(bgtask::testing::calls(refresh), 1); // immediately, although the call has not run yet
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit or no such function.
#[track_caller]
pub fn calls<M>(function: impl BackgroundFunction<M>) -> usize {
    let state = State::current("calls()");
    state.calls(Function::new(&function))
}

/// Returns how many calls of the function have begun their body in this test. A call is one run however many attempts it makes;
/// [`stats()`](crate::stats) counts further attempts.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background(coalesce)]
/// # async fn refresh() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// // #[background(coalesce)]
/// refresh();
/// refresh(); // joins the first one
/// bgtask::testing::idle().await;
/// assert_eq!(bgtask::testing::calls(refresh), 2);
/// assert_eq!(bgtask::testing::runs(refresh), 1);
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit or no such function.
#[track_caller]
pub fn runs<M>(function: impl BackgroundFunction<M>) -> usize {
    let state = State::current("runs()");
    state.runs(Function::new(&function))
}

/// Asserts that exactly `times` [`calls`] of the function were made in this test.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn refresh() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// refresh();
/// bgtask::testing::assert_called(refresh, 1);
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there were more or fewer calls; the message lists their locations. Panics if there is no test kit or no such
/// function.
#[track_caller]
pub fn assert_called<M>(function: impl BackgroundFunction<M>, times: usize) {
    let state = State::current("assert_called()");
    state.assert_called(Function::new(&function), times);
}

/// Asserts that no call of the function was made in this test.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background]
/// # async fn refresh() {}
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::assert_not_called(refresh);
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there was a call; the message lists its location. Panics if there is no test kit or no such function.
#[track_caller]
pub fn assert_not_called<M>(function: impl BackgroundFunction<M>) {
    let state = State::current("assert_not_called()");
    state.assert_called(Function::new(&function), 0);
}

/// Declares that one call of the function panics in this test, before or after this line. Declare it twice for two calls.
///
/// The test fails if no call panics. A declared panic is logged like any other.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background(log = "off")]
/// # async fn refresh() { panic!("disk full") }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::expect_panic(refresh);
/// refresh();
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit or no such function.
#[track_caller]
pub fn expect_panic<M>(function: impl BackgroundFunction<M>) {
    let state = State::current("expect_panic()");
    state.expect(FailureKind::Panic, Function::new(&function));
}

/// Declares that one call of the function returns an `Err` in this test, before or after this line, whether or not its handle is
/// awaited. Declare it twice for two calls.
///
/// The test fails if no call returns an `Err`.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background(log = "off")]
/// # async fn refresh() -> Result<(), String> { Err("disk full".into()) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::expect_error(refresh);
/// refresh();
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit or no such function.
#[track_caller]
pub fn expect_error<M>(function: impl BackgroundFunction<M>) {
    let state = State::current("expect_error()");
    state.expect(FailureKind::Error, Function::new(&function));
}

/// Declares that one call of the function exceeds its `timeout` in this test, before or after this line, whether or not its
/// handle is awaited. Declare it twice for two calls.
///
/// The test fails if no call times out.
///
/// # Examples
/// ```standalone_crate
/// # #[bgtask::background(log = "off", timeout = "10ms")]
/// # async fn refresh() { std::future::pending().await }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let kit = bgtask::testing::Kit::install().unwrap();
/// bgtask::testing::expect_timeout(refresh); // #[background(timeout = "10ms")]
/// refresh();
/// # bgtask::testing::idle().await;
/// # kit.finish().await;
/// # }
/// ```
///
/// # Panics
/// Panics if there is no test kit or no such function.
#[track_caller]
pub fn expect_timeout<M>(function: impl BackgroundFunction<M>) {
    let state = State::current("expect_timeout()");
    state.expect(FailureKind::Timeout, Function::new(&function));
}

impl State {
    fn expect(&self, kind: FailureKind, function: Function) {
        self.records().expected.push(Expected { kind, function });
    }

    #[track_caller]
    fn assert_called(&self, function: Function, times: usize) {
        let calls = self.calls(function);
        if calls == times {
            return;
        }
        let expected = match times {
            0 => "no call was".to_owned(),
            1 => "1 call was".to_owned(),
            _ => format!("{times} calls were"),
        };
        let called = match calls {
            0 => "never".to_owned(),
            1 => "once".to_owned(),
            _ => format!("{calls} times"),
        };
        panic!(
            "`{}` was called {called}, and {expected} expected{}",
            function.name,
            self.list(function)
        );
    }
}
