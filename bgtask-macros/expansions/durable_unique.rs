#[allow(
    clippy::large_types_passed_by_value,
    clippy::needless_pass_by_value,
    clippy::must_use_candidate
)]
#[track_caller]
fn render(order: Order) -> ::bgtask::__private::Enqueue<()> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        async fn render(job: Job, order: Order) {}
    }
    static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
        concurrency: ::core::option::Option::Some(::bgtask::__private::Concurrency {
            max: 4usize,
            queue: ::core::option::Option::None,
            overflow: ::bgtask::__private::Overflow::Refuse,
        }),
        durable: ::core::option::Option::Some(::bgtask::__private::Durable {
            queue: "default",
            priority: 1u8,
            keep: ::core::option::Option::Some(
                ::core::time::Duration::new(172800u64, 0u32),
            ),
            was: ::core::option::Option::None,
            unique: ::core::option::Option::Some(::bgtask::__private::Uniqueness {
                has_key: true,
                within: ::core::option::Option::Some(
                    ::core::time::Duration::new(86400u64, 0u32),
                ),
            }),
            max: 10u32,
            backoff: ::bgtask::__private::Backoff {
                shape: ::bgtask::__private::Shape::Exponential,
                base: ::core::time::Duration::new(1u64, 0u32),
                cap: ::core::time::Duration::new(3600u64, 0u32),
                jitter: true,
            },
            panics: true,
            run: __bgtask_run,
        }),
        ..::bgtask::__private::Policies::NONE
    };
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "render"),
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
    const _: () = ::bgtask::__private::Durable::check_name(
        ::core::concat!(::core::module_path!(), "::", "render"),
    );
    fn __bgtask_run(
        arguments: &::bgtask::__private::RawValue,
        claimed: &::bgtask::__private::Claimed,
    ) -> ::core::result::Result<
        ::bgtask::__private::Running,
        ::bgtask::__private::Undecodable,
    > {
        #[allow(clippy::question_mark)]
        let mut arguments = match ::bgtask::__private::Arguments::new(arguments) {
            ::core::result::Result::Ok(decoded) => decoded,
            ::core::result::Result::Err(wrong) => {
                return ::core::result::Result::Err(wrong);
            }
        };
        #[allow(clippy::question_mark)]
        let order = match ::bgtask::__private::Arguments::take::<
            Order,
        >(&mut arguments, "order") {
            ::core::result::Result::Ok(decoded) => decoded,
            ::core::result::Result::Err(wrong) => {
                return ::core::result::Result::Err(wrong);
            }
        };
        let job = ::bgtask::__private::job_parameter::<Job>(claimed);
        let start = move || -> ::bgtask::__private::TaskHandle<()> {
            let keys = <::bgtask::__private::Keys as ::core::default::Default>::default()
                .concurrency({
                    #[allow(
                        unused_variables,
                        clippy::no_effect_underscore_binding,
                        clippy::pattern_type_mismatch,
                        clippy::shadow_reuse,
                        clippy::shadow_same,
                        clippy::used_underscore_binding
                    )]
                    let order = &order;
                    ::bgtask::__private::key(&(order.shop))
                });
            let call = ::bgtask::__private::begin_with(
                &__BGTASK_HANDLER,
                keys,
                ::bgtask::__private::Origin::Job(::core::clone::Clone::clone(claimed)),
            );
            let attempts = ::bgtask::__private::Attempts::<
                (),
            >::once(__BgtaskWork::render(job, order));
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
        };
        #[allow(clippy::needless_return)]
        return ::core::result::Result::Ok(
            ::bgtask::__private::running::<
                (),
                _,
                _,
            >(
                start(),
                ::bgtask::__private::ValueCodec,
                ::bgtask::__private::RetryWhen::ALWAYS,
                ::bgtask::__private::Probe::<()>::NEW.classify(),
            ),
        );
    }
    #[allow(clippy::needless_return)]
    return ::bgtask::__private::enqueue::<
        (),
    >(
        &__BGTASK_HANDLER,
        |encoder| {
            ::bgtask::__private::Encoder::add::<Order>(encoder, "order", &order);
            {
                #[allow(
                    unused_variables,
                    clippy::no_effect_underscore_binding,
                    clippy::pattern_type_mismatch,
                    clippy::shadow_reuse,
                    clippy::shadow_same,
                    clippy::used_underscore_binding
                )]
                let order = &order;
                ::bgtask::__private::Encoder::key(encoder, &(order.id));
            }
            {
                #[allow(
                    unused_variables,
                    clippy::no_effect_underscore_binding,
                    clippy::pattern_type_mismatch,
                    clippy::shadow_reuse,
                    clippy::shadow_same,
                    clippy::used_underscore_binding
                )]
                let order = &order;
                ::bgtask::__private::Encoder::notify(encoder, webhook(&order.callback));
            }
        },
    );
}
