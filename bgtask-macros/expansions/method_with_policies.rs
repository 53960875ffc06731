impl Mailer {
    #[allow(clippy::must_use_candidate)]
    #[track_caller]
    pub fn send(
        self: Arc<Self>,
        mail: Mail,
    ) -> ::bgtask::__private::TaskHandle<Result<(), Error>> {
        enum __BgtaskWork {}
        static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
            rate: ::core::option::Option::Some(::bgtask::__private::RateLimit {
                rate: ::bgtask::__private::Rate::new(
                    1u32,
                    ::core::time::Duration::new(1u64, 0u32),
                ),
                refuses: false,
            }),
            ..::bgtask::__private::Policies::NONE
        };
        static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
            name: ::core::concat!(::core::module_path!(), "::", "send"),
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
        let keys = <::bgtask::__private::Keys as ::core::default::Default>::default()
            .rate({
                #[allow(
                    unused_variables,
                    clippy::no_effect_underscore_binding,
                    clippy::pattern_type_mismatch,
                    clippy::shadow_reuse,
                    clippy::shadow_same,
                    clippy::used_underscore_binding
                )]
                let mail = &mail;
                ::bgtask::__private::key(&(self.server))
            });
        let call = ::bgtask::__private::begin_with(
            &__BGTASK_HANDLER,
            keys,
            ::bgtask::__private::Origin::Call,
        );
        let attempts = ::bgtask::__private::Attempts::<
            Result<(), Error>,
        >::once(async move {
            let _ = &self;
            #[allow(clippy::shadow_same)]
            let mail: Mail = mail;
            if false {
                return ::bgtask::__private::returned::<Result<(), Error>>();
            }
            self.deliver(mail).await
        });
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
    #[allow(clippy::must_use_candidate)]
    #[track_caller]
    pub fn send_again(
        self: Arc<Self>,
        mail: Mail,
    ) -> ::bgtask::__private::TaskHandle<Result<(), Error>> {
        enum __BgtaskWork {}
        static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
            retry: ::core::option::Option::Some(::bgtask::__private::Retry {
                max: 3u32,
                backoff: ::bgtask::__private::Backoff {
                    shape: ::bgtask::__private::Shape::Exponential,
                    base: ::core::time::Duration::new(0u64, 200000000u32),
                    cap: ::core::time::Duration::new(30u64, 0u32),
                    jitter: false,
                },
                panics: false,
                last_attempt: true,
            }),
            timeout: ::core::option::Option::Some(
                ::core::time::Duration::new(30u64, 0u32),
            ),
            ..::bgtask::__private::Policies::NONE
        };
        static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
            name: ::core::concat!(::core::module_path!(), "::", "send_again"),
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
        let keys = <::bgtask::__private::Keys as ::core::default::Default>::default();
        let call = ::bgtask::__private::begin_with(
            &__BGTASK_HANDLER,
            keys,
            ::bgtask::__private::Origin::Call,
        );
        let attempts = {
            let _: ::core::option::Option<::bgtask::__private::Copied<Arc<Self>>> = ::core::option::Option::None;
            #[allow(clippy::used_underscore_binding)]
            let _ = || ::bgtask::__private::cloned(&mail);
            let attempt = move |token| {
                let work = async move {
                    let _ = &self;
                    let stop: ShutdownToken = token;
                    #[allow(clippy::shadow_same)]
                    let mail: Mail = mail;
                    if false {
                        return ::bgtask::__private::returned::<Result<(), Error>>();
                    }
                    self.connection(stop).deliver(mail).await
                };
                #[allow(clippy::needless_return)] return work;
            };
            ::bgtask::__private::Attempts::<
                Result<(), Error>,
            >::again(move |token| ::core::clone::Clone::clone(&attempt)(token))
        };
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
    #[allow(clippy::must_use_candidate)]
    #[track_caller]
    pub fn check() -> ::bgtask::__private::TaskHandle<Result<Self, Error>> {
        enum __BgtaskWork {}
        static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
            retry: ::core::option::Option::Some(::bgtask::__private::Retry {
                max: 3u32,
                backoff: ::bgtask::__private::Backoff {
                    shape: ::bgtask::__private::Shape::Exponential,
                    base: ::core::time::Duration::new(0u64, 200000000u32),
                    cap: ::core::time::Duration::new(30u64, 0u32),
                    jitter: false,
                },
                panics: false,
                last_attempt: true,
            }),
            ..::bgtask::__private::Policies::NONE
        };
        static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
            name: ::core::concat!(::core::module_path!(), "::", "check"),
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
        let keys = <::bgtask::__private::Keys as ::core::default::Default>::default();
        let call = ::bgtask::__private::begin_with(
            &__BGTASK_HANDLER,
            keys,
            ::bgtask::__private::Origin::Call,
        );
        let attempts = ::bgtask::__private::Attempts::<
            Result<Self, Error>,
        >::again_blocking(move |token| {
            let work = move || -> Result<Self, Error> {
                let stop: ShutdownToken = token;
                Self::connect(stop)
            };
            #[allow(clippy::needless_return)] return work;
        });
        let when = ::bgtask::__private::RetryWhen::ALWAYS;
        #[allow(clippy::needless_return)]
        return ::bgtask::__private::launch_with::<
            Result<Self, Error>,
        >(
            call,
            attempts,
            when,
            ::bgtask::__private::Share::NEVER,
            ::bgtask::__private::Probe::<Result<Self, Error>>::NEW.classify(),
        );
    }
}
