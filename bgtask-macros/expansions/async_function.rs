/// Documented.
#[must_use]
#[allow(clippy::must_use_candidate)]
#[track_caller]
pub fn refresh(arg2: (String, u8)) -> ::bgtask::__private::TaskHandle<io::Result<()>> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        async fn refresh(
            token: ShutdownToken,
            (key, _): (String, u8),
        ) -> io::Result<()> {
            token.run_until_cancelled(fetch(key)).await.unwrap_or(Ok(()))
        }
    }
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "refresh"),
        path: ::core::any::type_name::<__BgtaskWork>,
        module_path: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        kind: ::bgtask::__private::Kind::Async,
        takes_token: true,
        on_shutdown: ::bgtask::__private::OnShutdown::Drain,
        log: ::bgtask::__private::Log::Debug,
        warn_after: ::bgtask::__private::WarnAfter::Default,
        policies: ::core::option::Option::None,
    });
    ::bgtask::__private::inventory::submit! {
        ::bgtask::__private::Registered(& __BGTASK_HANDLER)
    }
    let run = ::bgtask::__private::begin(&__BGTASK_HANDLER);
    let token = run.token();
    #[allow(clippy::needless_return)]
    return ::bgtask::__private::launch::<
        io::Result<()>,
        _,
    >(
        run,
        __BgtaskWork::refresh(token, arg2),
        ::bgtask::__private::Probe::<io::Result<()>>::NEW.classify(),
    );
}
