#[allow(clippy::must_use_candidate)]
#[track_caller]
fn sum<T: Into<u64> + Send + 'static, const N: usize>(
    numbers: [T; N],
) -> ::bgtask::__private::TaskHandle<u64> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        async fn sum<T: Into<u64> + Send + 'static, const N: usize>(
            numbers: [T; N],
        ) -> u64 {
            fn add(a: u64, b: u64) -> u64 {
                a + b
            }
            numbers.into_iter().map(Into::into).fold(0, add)
        }
    }
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "sum"),
        path: ::core::any::type_name::<__BgtaskWork>,
        module_path: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        kind: ::bgtask::__private::Kind::Async,
        takes_token: false,
        on_shutdown: ::bgtask::__private::OnShutdown::Drain,
        log: ::bgtask::__private::Log::Debug,
        warn_after: ::bgtask::__private::WarnAfter::Default,
        policies: ::core::option::Option::None,
    });
    ::bgtask::__private::inventory::submit! {
        ::bgtask::__private::Registered(& __BGTASK_HANDLER)
    }
    let run = ::bgtask::__private::begin(&__BGTASK_HANDLER);
    #[allow(clippy::needless_return)]
    return ::bgtask::__private::launch::<
        u64,
        _,
    >(
        run,
        __BgtaskWork::sum::<T, N>(numbers),
        ::bgtask::__private::Probe::<u64>::NEW.classify(),
    );
}
#[allow(clippy::must_use_candidate)]
#[track_caller]
fn has_items() -> ::bgtask::__private::TaskHandle<()> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        async fn has_items() {
            fn helper() {}
            helper();
        }
    }
    const _: () = {
        let _ = __BgtaskWork::has_items;
    };
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "has_items"),
        path: ::core::any::type_name::<__BgtaskWork>,
        module_path: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        kind: ::bgtask::__private::Kind::Async,
        takes_token: false,
        on_shutdown: ::bgtask::__private::OnShutdown::Drain,
        log: ::bgtask::__private::Log::Debug,
        warn_after: ::bgtask::__private::WarnAfter::Default,
        policies: ::core::option::Option::None,
    });
    ::bgtask::__private::inventory::submit! {
        ::bgtask::__private::Registered(& __BGTASK_HANDLER)
    }
    let run = ::bgtask::__private::begin(&__BGTASK_HANDLER);
    #[allow(clippy::needless_return)]
    return ::bgtask::__private::launch::<
        (),
        _,
    >(run, __BgtaskWork::has_items(), ::bgtask::__private::Probe::<()>::NEW.classify());
}
