#[allow(clippy::must_use_candidate)]
#[track_caller]
fn checksum(data: Vec<u8>, _seed: u64) -> ::bgtask::__private::TaskHandle<u64> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[instrument(skip_all)]
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        fn checksum(data: Vec<u8>, _seed: u64) -> u64 {
            data.iter().map(|&byte| u64::from(byte)).sum()
        }
    }
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: "checksum",
        path: ::core::any::type_name::<__BgtaskWork>,
        module_path: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        kind: ::bgtask::__private::Kind::Blocking,
        takes_token: false,
        on_shutdown: ::bgtask::__private::OnShutdown::Finish,
        log: ::bgtask::__private::Log::Info,
        warn_after: ::bgtask::__private::WarnAfter::Default,
        policies: ::core::option::Option::None,
    });
    ::bgtask::__private::inventory::submit! {
        ::bgtask::__private::Registered(& __BGTASK_HANDLER)
    }
    let run = ::bgtask::__private::begin(&__BGTASK_HANDLER);
    #[allow(clippy::needless_return, clippy::used_underscore_binding)]
    return ::bgtask::__private::launch_blocking::<
        u64,
        _,
    >(
        run,
        move || __BgtaskWork::checksum(data, _seed),
        ::bgtask::__private::Probe::<u64>::NEW.classify(),
    );
}
