#[allow(clippy::must_use_candidate)]
#[track_caller]
fn audit(line: String) -> ::bgtask::__private::TaskHandle<io::Result<()>> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        async fn audit(
            State(log): State<Log>,
            stop: ShutdownToken,
            line: String,
        ) -> io::Result<()> {
            log.append(line, stop).await
        }
    }
    static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
        states: &[::bgtask::__private::StateSpec::of::<State<Log>>()],
        ..::bgtask::__private::Policies::NONE
    };
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "audit"),
        path: ::core::any::type_name::<__BgtaskWork>,
        module_path: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        kind: ::bgtask::__private::Kind::Async,
        takes_token: true,
        on_shutdown: ::bgtask::__private::OnShutdown::Drain,
        log: ::bgtask::__private::Log::Debug,
        warn_after: ::bgtask::__private::WarnAfter::Default,
        policies: ::core::option::Option::Some(&__BGTASK_POLICIES),
    });
    ::bgtask::__private::inventory::submit! {
        ::bgtask::__private::Registered(& __BGTASK_HANDLER)
    }
    let site = ::bgtask::__private::resolve(&__BGTASK_HANDLER);
    let arg1 = match ::bgtask::__private::injected::<State<Log>, io::Result<()>>(&site) {
        ::core::result::Result::Ok(state) => state,
        ::core::result::Result::Err(refused) => return refused,
    };
    let run = ::bgtask::__private::begin_at(site);
    let token = run.token();
    #[allow(clippy::needless_return)]
    return ::bgtask::__private::launch::<
        io::Result<()>,
        _,
    >(
        run,
        __BgtaskWork::audit(arg1, token, line),
        ::bgtask::__private::Probe::<io::Result<()>>::NEW.classify(),
    );
}
#[allow(clippy::must_use_candidate)]
#[track_caller]
fn compact() -> ::bgtask::__private::TaskHandle<()> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        fn compact(State(log): State<Log>) {
            log.compact();
        }
    }
    static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
        states: &[::bgtask::__private::StateSpec::of::<State<Log>>()],
        ..::bgtask::__private::Policies::NONE
    };
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "compact"),
        path: ::core::any::type_name::<__BgtaskWork>,
        module_path: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        kind: ::bgtask::__private::Kind::Blocking,
        takes_token: false,
        on_shutdown: ::bgtask::__private::OnShutdown::Drain,
        log: ::bgtask::__private::Log::Debug,
        warn_after: ::bgtask::__private::WarnAfter::Default,
        policies: ::core::option::Option::Some(&__BGTASK_POLICIES),
    });
    ::bgtask::__private::inventory::submit! {
        ::bgtask::__private::Registered(& __BGTASK_HANDLER)
    }
    let site = ::bgtask::__private::resolve(&__BGTASK_HANDLER);
    let arg1 = match ::bgtask::__private::injected::<State<Log>, ()>(&site) {
        ::core::result::Result::Ok(state) => state,
        ::core::result::Result::Err(refused) => return refused,
    };
    let run = ::bgtask::__private::begin_at(site);
    #[allow(clippy::needless_return)]
    return ::bgtask::__private::launch_blocking::<
        (),
        _,
    >(
        run,
        move || __BgtaskWork::compact(arg1),
        ::bgtask::__private::Probe::<()>::NEW.classify(),
    );
}
