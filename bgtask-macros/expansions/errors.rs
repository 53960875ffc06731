::core::compile_error! {
    "unknown option `nmae`; did you mean `name`?"
}
::core::compile_error! {
    "the runtime calls this task, so it cannot be `unsafe`; move `unsafe { }` into the body"
}
::core::compile_error! {
    "a background task outlives its caller, so `key` must own its data: use `String`, `Arc<_>` or a `'static` reference"
}
#[allow(warnings, clippy::all, clippy::pedantic)]
pub fn task(_: &str, _: u32) -> ::bgtask::__private::TaskHandle<u32> {
    let _ = |_: &str| {};
    let _ = |_: ShutdownToken| {};
    let _ = |_: u32| {};
    ::core::panic!()
}
