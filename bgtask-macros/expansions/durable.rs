#[allow(
    clippy::large_types_passed_by_value,
    clippy::needless_pass_by_value,
    clippy::must_use_candidate
)]
#[track_caller]
fn send_receipt(order: OrderId) -> ::bgtask::__private::Enqueue<Receipt> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        async fn send_receipt(
            State(mail): State<Mailer>,
            order: OrderId,
        ) -> Result<Receipt, MailError> {
            mail.send(order).await
        }
    }
    static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
        timeout: ::core::option::Option::Some(::core::time::Duration::new(120u64, 0u32)),
        durable: ::core::option::Option::Some(::bgtask::__private::Durable {
            queue: "mail",
            priority: 1u8,
            keep: ::core::option::Option::None,
            was: ::core::option::Option::None,
            unique: ::core::option::Option::None,
            max: 5u32,
            backoff: ::bgtask::__private::Backoff {
                shape: ::bgtask::__private::Shape::Exponential,
                base: ::core::time::Duration::new(1u64, 0u32),
                cap: ::core::time::Duration::new(3600u64, 0u32),
                jitter: true,
            },
            panics: true,
            run: __bgtask_run,
        }),
        states: &[::bgtask::__private::StateSpec::of::<State<Mailer>>()],
        ..::bgtask::__private::Policies::NONE
    };
    static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "send_receipt"),
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
        ::core::concat!(::core::module_path!(), "::", "send_receipt"),
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
            OrderId,
        >(&mut arguments, "order") {
            ::core::result::Result::Ok(decoded) => decoded,
            ::core::result::Result::Err(wrong) => {
                return ::core::result::Result::Err(wrong);
            }
        };
        let start = move || -> ::bgtask::__private::TaskHandle<
            Result<Receipt, MailError>,
        > {
            let site = ::bgtask::__private::resolve(&__BGTASK_HANDLER);
            let arg1 = match ::bgtask::__private::injected::<
                State<Mailer>,
                Result<Receipt, MailError>,
            >(&site) {
                ::core::result::Result::Ok(state) => state,
                ::core::result::Result::Err(refused) => return refused,
            };
            let keys = <::bgtask::__private::Keys as ::core::default::Default>::default();
            let call = ::bgtask::__private::begin_with_at(
                site,
                keys,
                ::bgtask::__private::Origin::Job(::core::clone::Clone::clone(claimed)),
            );
            let attempts = ::bgtask::__private::Attempts::<
                Result<Receipt, MailError>,
            >::once(__BgtaskWork::send_receipt(arg1, order));
            let when = ::bgtask::__private::RetryWhen::ALWAYS;
            #[allow(clippy::needless_return)]
            return ::bgtask::__private::launch_with::<
                Result<Receipt, MailError>,
            >(
                call,
                attempts,
                when,
                ::bgtask::__private::Share::NEVER,
                ::bgtask::__private::Probe::<Result<Receipt, MailError>>::NEW.classify(),
            );
        };
        #[allow(clippy::needless_return)]
        return ::core::result::Result::Ok(
            ::bgtask::__private::running::<
                Result<Receipt, MailError>,
                _,
                _,
            >(
                start(),
                ::bgtask::__private::ResultCodec,
                ::bgtask::__private::retry_when::<
                    Result<Receipt, MailError>,
                    _,
                >(is_passing),
                ::bgtask::__private::Probe::<Result<Receipt, MailError>>::NEW.classify(),
            ),
        );
    }
    #[allow(clippy::needless_return)]
    return ::bgtask::__private::enqueue::<
        Receipt,
    >(
        &__BGTASK_HANDLER,
        |encoder| {
            ::bgtask::__private::Encoder::add::<OrderId>(encoder, "order", &order);
        },
    );
}
