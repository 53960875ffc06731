#[allow(
    clippy::large_types_passed_by_value,
    clippy::needless_pass_by_value,
    clippy::must_use_candidate
)]
#[track_caller]
fn send_receipt(order: Order) -> ::bgtask::__private::Enqueue<()> {
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
            order: Order,
        ) -> Result<(), MailError> {
            mail.send(order).await
        }
    }
    static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
        wrap: ::core::option::Option::Some("with_tenant"),
        durable: ::core::option::Option::Some(::bgtask::__private::Durable {
            queue: "default",
            priority: 1u8,
            keep: ::core::option::Option::None,
            was: ::core::option::Option::None,
            unique: ::core::option::Option::None,
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
        states: &[::bgtask::__private::StateSpec::of::<State<Mailer>>()],
        fields: ::core::option::Option::Some(::bgtask::__private::FieldSpec {
            names: &["order.id", "order.shop"],
            span: |span| {
                ::bgtask::__private::new_span!(
                    span.name, span.id, "order.id" = span.value(0usize), "order.shop" =
                    span.value(1usize)
                )
            },
        }),
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
            Order,
        >(&mut arguments, "order") {
            ::core::result::Result::Ok(decoded) => decoded,
            ::core::result::Result::Err(wrong) => {
                return ::core::result::Result::Err(wrong);
            }
        };
        let start = move || -> ::bgtask::__private::TaskHandle<Result<(), MailError>> {
            let site = ::bgtask::__private::resolve(&__BGTASK_HANDLER);
            let arg1 = match ::bgtask::__private::injected::<
                State<Mailer>,
                Result<(), MailError>,
            >(&site) {
                ::core::result::Result::Ok(state) => state,
                ::core::result::Result::Err(refused) => return refused,
            };
            let fields = {
                #[allow(
                    unused_variables,
                    clippy::no_effect_underscore_binding,
                    clippy::pattern_type_mismatch,
                    clippy::shadow_reuse,
                    clippy::shadow_same,
                    clippy::used_underscore_binding
                )]
                let order = &order;
                ::bgtask::__private::record(
                    &__BGTASK_POLICIES.fields,
                    &[
                        &|to: &mut ::bgtask::__private::FieldWriter| {
                            to.value(&(order.id))
                        },
                        &|to: &mut ::bgtask::__private::FieldWriter| {
                            to.display(&(order.shop))
                        },
                    ],
                )
            };
            let keys = <::bgtask::__private::Keys as ::core::default::Default>::default();
            let call = ::bgtask::__private::begin_with_at(
                site,
                keys,
                ::bgtask::__private::Origin::Job(::core::clone::Clone::clone(claimed)),
            );
            let attempts = ::bgtask::__private::Attempts::wrapped(
                ::bgtask::__private::Attempts::<
                    Result<(), MailError>,
                >::once(__BgtaskWork::send_receipt(arg1, order)),
                with_tenant,
            );
            let when = ::bgtask::__private::RetryWhen::ALWAYS;
            #[allow(clippy::needless_return)]
            return ::bgtask::__private::launch_recorded_with::<
                Result<(), MailError>,
            >(
                call,
                fields,
                attempts,
                when,
                ::bgtask::__private::Share::NEVER,
                ::bgtask::__private::Probe::<Result<(), MailError>>::NEW.classify(),
            );
        };
        #[allow(clippy::needless_return)]
        return ::core::result::Result::Ok(
            ::bgtask::__private::running::<
                Result<(), MailError>,
                _,
                _,
            >(
                start(),
                ::bgtask::__private::ResultCodec,
                ::bgtask::__private::RetryWhen::ALWAYS,
                ::bgtask::__private::Probe::<Result<(), MailError>>::NEW.classify(),
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
        },
    );
}
