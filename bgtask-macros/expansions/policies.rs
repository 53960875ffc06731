#[allow(clippy::must_use_candidate)]
#[track_caller]
fn deliver(arg3: (String, u8)) -> ::bgtask::__private::TaskHandle<io::Result<u32>> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        async fn deliver(
            stop: ShutdownToken,
            State(client): State<Client>,
            (hook, _): (String, u8),
        ) -> io::Result<u32> {
            client.deliver(hook, stop).await
        }
    }
    static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
        coalesce: ::core::option::Option::Some(::bgtask::__private::Coalesce::Join),
        rate: ::core::option::Option::Some(::bgtask::__private::RateLimit {
            rate: ::bgtask::__private::Rate::new(
                100u32,
                ::core::time::Duration::new(1u64, 0u32),
            ),
            refuses: false,
        }),
        concurrency: ::core::option::Option::Some(::bgtask::__private::Concurrency {
            max: 8usize,
            queue: ::core::option::Option::Some(100usize),
            overflow: ::bgtask::__private::Overflow::Refuse,
        }),
        retry: ::core::option::Option::Some(::bgtask::__private::Retry {
            max: 5u32,
            backoff: ::bgtask::__private::Backoff {
                shape: ::bgtask::__private::Shape::Exponential,
                base: ::core::time::Duration::new(0u64, 200000000u32),
                cap: ::core::time::Duration::new(30u64, 0u32),
                jitter: false,
            },
            panics: false,
            last_attempt: true,
        }),
        timeout: ::core::option::Option::Some(::core::time::Duration::new(30u64, 0u32)),
        states: &[::bgtask::__private::StateSpec::of::<State<Client>>()],
        ..::bgtask::__private::Policies::NONE
    };
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "deliver"),
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
    let arg2 = match ::bgtask::__private::injected::<
        State<Client>,
        io::Result<u32>,
    >(&site) {
        ::core::result::Result::Ok(state) => state,
        ::core::result::Result::Err(refused) => return refused,
    };
    let keys = <::bgtask::__private::Keys as ::core::default::Default>::default()
        .coalesce({
            #[allow(
                unused_variables,
                clippy::no_effect_underscore_binding,
                clippy::pattern_type_mismatch,
                clippy::shadow_reuse,
                clippy::shadow_same,
                clippy::used_underscore_binding
            )]
            let (hook, _) = &arg3;
            ::bgtask::__private::key(&(hook.as_str()))
        })
        .concurrency({
            #[allow(
                unused_variables,
                clippy::no_effect_underscore_binding,
                clippy::pattern_type_mismatch,
                clippy::shadow_reuse,
                clippy::shadow_same,
                clippy::used_underscore_binding
            )]
            let (hook, _) = &arg3;
            ::bgtask::__private::key(&(hook.len()))
        });
    let call = ::bgtask::__private::begin_with_at(
        site,
        keys,
        ::bgtask::__private::Origin::Call,
    );
    let attempts = ::bgtask::__private::Attempts::<
        io::Result<u32>,
    >::again(move |token| {
        #[allow(
            clippy::shadow_reuse,
            clippy::shadow_same,
            clippy::used_underscore_binding
        )]
        let arg2 = ::bgtask::__private::cloned(&arg2);
        #[allow(
            clippy::shadow_reuse,
            clippy::shadow_same,
            clippy::used_underscore_binding
        )]
        let arg3 = ::bgtask::__private::cloned(&arg3);
        let work = __BgtaskWork::deliver(token, arg2, arg3);
        #[allow(clippy::needless_return)] return work;
    });
    let when = ::bgtask::__private::retry_when::<io::Result<u32>, _>(is_passing);
    #[allow(clippy::needless_return)]
    return ::bgtask::__private::launch_with::<
        io::Result<u32>,
    >(
        call,
        attempts,
        when,
        ::bgtask::__private::ShareProbe::<io::Result<u32>>::NEW.share(),
        ::bgtask::__private::Probe::<io::Result<u32>>::NEW.classify(),
    );
}
#[allow(clippy::must_use_candidate)]
#[track_caller]
fn resize<T: Image>(image: T, _quality: u8) -> ::bgtask::__private::TaskHandle<T> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        fn resize<T: Image>(image: T, _quality: u8) -> T {
            image.resized()
        }
    }
    static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
        coalesce: ::core::option::Option::Some(::bgtask::__private::Coalesce::Skip),
        concurrency: ::core::option::Option::Some(::bgtask::__private::Concurrency {
            max: 1usize,
            queue: ::core::option::Option::None,
            overflow: ::bgtask::__private::Overflow::Refuse,
        }),
        ..::bgtask::__private::Policies::NONE
    };
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "resize"),
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
    let keys = <::bgtask::__private::Keys as ::core::default::Default>::default()
        .coalesce({
            #[allow(
                unused_variables,
                clippy::no_effect_underscore_binding,
                clippy::pattern_type_mismatch,
                clippy::shadow_reuse,
                clippy::shadow_same,
                clippy::used_underscore_binding
            )]
            let image = &image;
            #[allow(
                unused_variables,
                clippy::no_effect_underscore_binding,
                clippy::pattern_type_mismatch,
                clippy::shadow_reuse,
                clippy::shadow_same,
                clippy::used_underscore_binding
            )]
            let _quality = &_quality;
            ::bgtask::__private::key(&(image.name()))
        })
        .of_instance(::core::any::type_name_of_val(&|| {}));
    let call = ::bgtask::__private::begin_with(
        &__BGTASK_HANDLER,
        keys,
        ::bgtask::__private::Origin::Call,
    );
    #[allow(clippy::used_underscore_binding)]
    let attempts = ::bgtask::__private::Attempts::<
        T,
    >::once_blocking(move |_| {
        let work = move || __BgtaskWork::resize::<T>(image, _quality);
        #[allow(clippy::needless_return)] return work;
    });
    let when = ::bgtask::__private::RetryWhen::ALWAYS;
    #[allow(clippy::needless_return)]
    return ::bgtask::__private::launch_with::<
        T,
    >(
        call,
        attempts,
        when,
        ::bgtask::__private::Share::NEVER,
        ::bgtask::__private::Probe::<T>::NEW.classify(),
    );
}
