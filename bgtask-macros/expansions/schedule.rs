#[allow(dead_code, clippy::must_use_candidate)]
#[track_caller]
fn purge() -> ::bgtask::__private::TaskHandle<Result<(), Error>> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        async fn purge(State(pool): State<Pool>) -> Result<(), Error> {
            pool.purge().await
        }
    }
    static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
        schedule: ::core::option::Option::Some(::bgtask::__private::Schedule {
            trigger: ::bgtask::__private::Trigger::Every(
                ::core::time::Duration::new(300u64, 0u32),
            ),
            overlap: false,
            missed: ::bgtask::__private::Missed::Once,
            jitter: ::core::time::Duration::new(10u64, 0u32),
            immediately: true,
            restart: ::core::option::Option::None,
            start: |origin| ::core::mem::drop(__bgtask_start(origin)),
        }),
        states: &[::bgtask::__private::StateSpec::of::<State<Pool>>()],
        ..::bgtask::__private::Policies::NONE
    };
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "purge"),
        path: ::core::any::type_name::<__BgtaskWork>,
        module_path: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        kind: ::bgtask::__private::Kind::Async,
        takes_token: false,
        on_shutdown: ::bgtask::__private::OnShutdown::Drain,
        log: ::bgtask::__private::Log::Debug,
        warn_after: ::bgtask::__private::WarnAfter::Default,
        policies: ::core::option::Option::Some(&__BGTASK_POLICIES),
    });
    ::bgtask::__private::inventory::submit! {
        ::bgtask::__private::Registered(& __BGTASK_HANDLER)
    }
    #[track_caller]
    fn __bgtask_start(
        origin: ::bgtask::__private::Origin,
    ) -> ::bgtask::__private::TaskHandle<Result<(), Error>> {
        let site = ::bgtask::__private::resolve(&__BGTASK_HANDLER);
        let arg1 = match ::bgtask::__private::injected::<
            State<Pool>,
            Result<(), Error>,
        >(&site) {
            ::core::result::Result::Ok(state) => state,
            ::core::result::Result::Err(refused) => return refused,
        };
        let keys = <::bgtask::__private::Keys as ::core::default::Default>::default();
        let call = ::bgtask::__private::begin_with_at(site, keys, origin);
        let attempts = ::bgtask::__private::Attempts::<
            Result<(), Error>,
        >::once(__BgtaskWork::purge(arg1));
        let when = ::bgtask::__private::RetryWhen::ALWAYS;
        #[allow(clippy::needless_return)]
        return ::bgtask::__private::launch_with::<
            Result<(), Error>,
        >(
            call,
            attempts,
            when,
            ::bgtask::__private::Share::NEVER,
            ::bgtask::__private::Probe::<Result<(), Error>>::NEW.classify(),
        );
    }
    #[allow(clippy::needless_return)]
    return __bgtask_start(::bgtask::__private::Origin::Call);
}
#[allow(dead_code, clippy::must_use_candidate)]
#[track_caller]
fn consume() -> ::bgtask::__private::TaskHandle<()> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        fn consume(token: ShutdownToken) {
            read(token);
        }
    }
    static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
        essential: true,
        schedule: ::core::option::Option::Some(::bgtask::__private::Schedule {
            trigger: ::bgtask::__private::Trigger::OnStart,
            overlap: false,
            missed: ::bgtask::__private::Missed::Once,
            jitter: ::core::time::Duration::new(0u64, 0u32),
            immediately: false,
            restart: ::core::option::Option::Some(::bgtask::__private::Restart {
                max: 5u32,
                window: ::core::time::Duration::new(60u64, 0u32),
                backoff: ::bgtask::__private::Backoff {
                    shape: ::bgtask::__private::Shape::Exponential,
                    base: ::core::time::Duration::new(0u64, 200000000u32),
                    cap: ::core::time::Duration::new(30u64, 0u32),
                    jitter: false,
                },
                always: false,
            }),
            start: |origin| ::core::mem::drop(__bgtask_start(origin)),
        }),
        ..::bgtask::__private::Policies::NONE
    };
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "consume"),
        path: ::core::any::type_name::<__BgtaskWork>,
        module_path: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        kind: ::bgtask::__private::Kind::Blocking,
        takes_token: true,
        on_shutdown: ::bgtask::__private::OnShutdown::Drain,
        log: ::bgtask::__private::Log::Debug,
        warn_after: ::bgtask::__private::WarnAfter::Default,
        policies: ::core::option::Option::Some(&__BGTASK_POLICIES),
    });
    ::bgtask::__private::inventory::submit! {
        ::bgtask::__private::Registered(& __BGTASK_HANDLER)
    }
    #[track_caller]
    fn __bgtask_start(
        origin: ::bgtask::__private::Origin,
    ) -> ::bgtask::__private::TaskHandle<()> {
        let keys = <::bgtask::__private::Keys as ::core::default::Default>::default();
        let call = ::bgtask::__private::begin_with(&__BGTASK_HANDLER, keys, origin);
        let attempts = ::bgtask::__private::Attempts::<
            (),
        >::once_blocking(move |token| {
            let work = move || __BgtaskWork::consume(token);
            #[allow(clippy::needless_return)] return work;
        });
        let when = ::bgtask::__private::RetryWhen::ALWAYS;
        #[allow(clippy::needless_return)]
        return ::bgtask::__private::launch_with::<
            (),
        >(
            call,
            attempts,
            when,
            ::bgtask::__private::Share::NEVER,
            ::bgtask::__private::Probe::<()>::NEW.classify(),
        );
    }
    #[allow(clippy::needless_return)]
    return __bgtask_start(::bgtask::__private::Origin::Call);
}
