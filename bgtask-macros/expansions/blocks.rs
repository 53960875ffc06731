// spawn!("sync", async move { sync().await })
fn calls() {
    ::bgtask::__private::run_future(
        ::bgtask::__private::BlockProbe::NEW,
        async move { sync().await },
        |probe| probe.classify(),
        {
            static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
                name: "sync",
                path: ::bgtask::__private::no_path,
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
            &__BGTASK_HANDLER
        },
    )
}

// spawn!("sync", move |token| async move { sync(token).await })
fn calls() {
    ::bgtask::__private::run_made_with_token(
        ::bgtask::__private::BlockProbe::NEW,
        move |token: ::bgtask::__private::ShutdownToken| async move {
            sync(token).await
        },
        |probe| probe.classify(),
        {
            static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
                name: "sync",
                path: ::bgtask::__private::no_path,
                module_path: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
                kind: ::bgtask::__private::Kind::Async,
                takes_token: true,
                on_shutdown: ::bgtask::__private::OnShutdown::Drain,
                log: ::bgtask::__private::Log::Debug,
                warn_after: ::bgtask::__private::WarnAfter::Default,
                policies: ::core::option::Option::None,
            });
            ::bgtask::__private::inventory::submit! {
                ::bgtask::__private::Registered(& __BGTASK_HANDLER)
            }
            &__BGTASK_HANDLER
        },
    )
}

// spawn!("hash", log = "info", || hash())
fn calls() {
    ::bgtask::__private::run_blocking(
        ::bgtask::__private::BlockingProbe::NEW,
        || { hash() },
        |__bgtask_probe| __bgtask_probe.classify(),
        {
            static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
                name: "hash",
                path: ::bgtask::__private::no_path,
                module_path: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
                kind: ::bgtask::__private::Kind::Blocking,
                takes_token: false,
                on_shutdown: ::bgtask::__private::OnShutdown::Drain,
                log: ::bgtask::__private::Log::Info,
                warn_after: ::bgtask::__private::WarnAfter::Default,
                policies: ::core::option::Option::None,
            });
            ::bgtask::__private::inventory::submit! {
                ::bgtask::__private::Registered(& __BGTASK_HANDLER)
            }
            &__BGTASK_HANDLER
        },
    )
}

// spawn!(NAME, retry(max = 3, when = is_passing), coalesce(key = page), async move { load(page).await })
fn calls() {
    ::bgtask::__private::run_making_again(
        ::bgtask::__private::BlockProbe::NEW,
        <::bgtask::__private::Keys as ::core::default::Default>::default()
            .coalesce(::bgtask::__private::key(&(page)))
            .of_instance(::core::any::type_name_of_val(&|| {})),
        move |_, ()| {
            let future = async move { load(page).await };
            #[allow(clippy::needless_return)] return future;
        },
        |_| ::core::result::Result::Ok(()),
        |probe| (
            ::bgtask::__private::may_fail(probe.classify()),
            ::bgtask::__private::retry_block_when(probe.output(), is_passing),
            ::bgtask::__private::share_of(probe.output()).share(),
        ),
        {
            static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
                coalesce: ::core::option::Option::Some(
                    ::bgtask::__private::Coalesce::Join,
                ),
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
                name: NAME,
                path: ::bgtask::__private::no_path,
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
            &__BGTASK_HANDLER
        },
    )
}

// spawn!("sync", timeout = "30s", |State(pool): State<Pool>, token: ShutdownToken| pool.sync(token))
fn calls() {
    ::bgtask::__private::run_blocking_with(
        ::bgtask::__private::BlockingProbe::NEW,
        <::bgtask::__private::Keys as ::core::default::Default>::default(),
        {
            let work = |State(pool): State<Pool>, token: ShutdownToken| pool.sync(token);
            move |token, (state0,)| ::bgtask::__private::call_2(work, state0, token)
        },
        |site| ::core::result::Result::Ok((
            ::bgtask::__private::injected::<State<Pool>, _>(site)?,
        )),
        |probe| (
            probe.classify(),
            ::bgtask::__private::RetryWhen::ALWAYS,
            ::bgtask::__private::Share::NEVER,
        ),
        {
            static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
                timeout: ::core::option::Option::Some(
                    ::core::time::Duration::new(30u64, 0u32),
                ),
                ..::bgtask::__private::Policies::NONE
            };
            static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
                name: "sync",
                path: ::bgtask::__private::no_path,
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
            &__BGTASK_HANDLER
        },
    )
}

// spawn!("sync", |State(pool): State<Pool>| pool.sync())
fn calls() {
    ::bgtask::__private::run_blocking_in_state(
        ::bgtask::__private::BlockingProbe::NEW,
        {
            let work = |State(pool): State<Pool>| { pool.sync() };
            move |_, (state0,)| ::bgtask::__private::call_1(work, state0)
        },
        |site| ::core::result::Result::Ok((
            ::bgtask::__private::injected::<State<Pool>, _>(site)?,
        )),
        |__bgtask_probe| __bgtask_probe.classify(),
        {
            static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
                ..::bgtask::__private::Policies::NONE
            };
            static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
                name: "sync",
                path: ::bgtask::__private::no_path,
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
            &__BGTASK_HANDLER
        },
    )
}

// spawn!(in &group, "sync", timeout = "30s", async move { sync().await })
fn calls() {
    ::bgtask::__private::run_in(
        &group,
        ::bgtask::__private::BlockProbe::NEW,
        (
            <::bgtask::__private::Keys as ::core::default::Default>::default(),
            async move { sync().await },
        ),
        |probe, (part0, part1)| ::bgtask::__private::run_future_with(
            probe,
            part0,
            part1,
            |probe| (
                probe.classify(),
                ::bgtask::__private::RetryWhen::ALWAYS,
                ::bgtask::__private::Share::NEVER,
            ),
            {
                static __BGTASK_POLICIES: ::bgtask::__private::Policies = ::bgtask::__private::Policies {
                    timeout: ::core::option::Option::Some(
                        ::core::time::Duration::new(30u64, 0u32),
                    ),
                    ..::bgtask::__private::Policies::NONE
                };
                static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
                    name: "sync",
                    path: ::bgtask::__private::no_path,
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
                &__BGTASK_HANDLER
            },
        ),
    )
}

// spawn!("sync", timout = "30s", every = "5m", async move { sync().await })
fn calls() {
    {
        ::core::compile_error! {
            "unknown option `timout`; did you mean `timeout`?"
        }
        ::core::compile_error! {
            "a block runs where it is called, and not by the clock: give the body to a function with `#[background(every = …)]`"
        }
        ::bgtask::__private::run_future(
            ::bgtask::__private::BlockProbe::NEW,
            async move { sync().await },
            |probe| probe.classify(),
            {
                static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
                    name: "sync",
                    path: ::bgtask::__private::no_path,
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
                &__BGTASK_HANDLER
            },
        )
    }
}

