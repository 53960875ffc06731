#[allow(clippy::must_use_candidate)]
#[track_caller]
fn deliver(
    url: String,
    order: Order,
    card: String,
) -> ::bgtask::__private::TaskHandle<()> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        async fn deliver(stop: ShutdownToken, url: String, order: Order, card: String) {
            order.deliver(url, card, stop).await
        }
    }
    static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
        fields: ::core::option::Option::Some(::bgtask::__private::FieldSpec {
            names: &["url", "order.id", "card"],
            span: |span| {
                ::bgtask::__private::new_span!(
                    span.name, span.id, "url" = span.value(0usize), "order.id" = span
                    .value(1usize), "card" = span.value(2usize)
                )
            },
        }),
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
    let fields = {
        #[allow(
            unused_variables,
            clippy::no_effect_underscore_binding,
            clippy::pattern_type_mismatch,
            clippy::shadow_reuse,
            clippy::shadow_same,
            clippy::used_underscore_binding
        )]
        let url = &url;
        #[allow(
            unused_variables,
            clippy::no_effect_underscore_binding,
            clippy::pattern_type_mismatch,
            clippy::shadow_reuse,
            clippy::shadow_same,
            clippy::used_underscore_binding
        )]
        let order = &order;
        #[allow(
            unused_variables,
            clippy::no_effect_underscore_binding,
            clippy::pattern_type_mismatch,
            clippy::shadow_reuse,
            clippy::shadow_same,
            clippy::used_underscore_binding
        )]
        let card = &card;
        ::bgtask::__private::record(
            &__BGTASK_POLICIES.fields,
            &[
                &|to: &mut ::bgtask::__private::FieldWriter| to.display(&(url)),
                &|to: &mut ::bgtask::__private::FieldWriter| to.value(&(order.id)),
                &|to: &mut ::bgtask::__private::FieldWriter| to.redact(&(card)),
            ],
        )
    };
    let run = ::bgtask::__private::begin(&__BGTASK_HANDLER);
    let token = run.token();
    #[allow(clippy::needless_return)]
    return ::bgtask::__private::launch_recorded::<
        (),
        _,
    >(
        run,
        fields,
        __BgtaskWork::deliver(token, url, order, card),
        ::bgtask::__private::Probe::<()>::NEW.classify(),
    );
}
#[allow(clippy::must_use_candidate)]
#[track_caller]
fn resize(image: Image) -> ::bgtask::__private::TaskHandle<Image> {
    enum __BgtaskWork {}
    impl __BgtaskWork {
        #[allow(
            dead_code,
            clippy::large_types_passed_by_value,
            clippy::missing_const_for_fn,
            clippy::needless_pass_by_value,
            clippy::single_call_fn
        )]
        fn resize(image: Image) -> Image {
            image.resized()
        }
    }
    static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
        wrap: ::core::option::Option::Some("with_tenant"),
        fields: ::core::option::Option::Some(::bgtask::__private::FieldSpec {
            names: &["image"],
            span: |span| {
                ::bgtask::__private::new_span!(
                    span.name, span.id, "image" = span.value(0usize)
                )
            },
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
    let fields = {
        #[allow(
            unused_variables,
            clippy::no_effect_underscore_binding,
            clippy::pattern_type_mismatch,
            clippy::shadow_reuse,
            clippy::shadow_same,
            clippy::used_underscore_binding
        )]
        let image = &image;
        ::bgtask::__private::record(
            &__BGTASK_POLICIES.fields,
            &[&|to: &mut ::bgtask::__private::FieldWriter| to.debug(&(image))],
        )
    };
    let keys = <::bgtask::__private::Keys as ::core::default::Default>::default();
    let call = ::bgtask::__private::begin_with(
        &__BGTASK_HANDLER,
        keys,
        ::bgtask::__private::Origin::Call,
    );
    let attempts = ::bgtask::__private::Attempts::wrapped(
        ::bgtask::__private::Attempts::<
            Image,
        >::once_blocking(move |_| {
            let work = move || __BgtaskWork::resize(image);
            #[allow(clippy::needless_return)] return work;
        }),
        with_tenant,
    );
    let when = ::bgtask::__private::RetryWhen::ALWAYS;
    #[allow(clippy::needless_return)]
    return ::bgtask::__private::launch_recorded_with::<
        Image,
    >(
        call,
        fields,
        attempts,
        when,
        ::bgtask::__private::Share::NEVER,
        ::bgtask::__private::Probe::<Image>::NEW.classify(),
    );
}
