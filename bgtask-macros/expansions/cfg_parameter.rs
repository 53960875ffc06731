#[allow(clippy::must_use_candidate)]
#[track_caller]
fn store(
    #[cfg(feature = "keyed")]
    key: String,
    stop: Stop,
) -> crate::tasks::__private::TaskHandle<()> {
    enum __BgtaskWork {}
    static __BGTASK_HANDLER: crate::tasks::__private::Handler = crate::tasks::__private::Handler::new(crate::tasks::__private::HandlerSpec {
        name: ::core::concat!(::core::module_path!(), "::", "store"),
        path: ::core::any::type_name::<__BgtaskWork>,
        module_path: ::core::module_path!(),
        file: ::core::file!(),
        line: ::core::line!(),
        kind: crate::tasks::__private::Kind::Blocking,
        takes_token: false,
        on_shutdown: crate::tasks::__private::OnShutdown::Drain,
        log: crate::tasks::__private::Log::Debug,
        warn_after: crate::tasks::__private::WarnAfter::Default,
        policies: ::core::option::Option::None,
    });
    crate::tasks::__private::inventory::submit! {
        crate ::tasks::__private::Registered(& __BGTASK_HANDLER)
    }
    let run = crate::tasks::__private::begin(&__BGTASK_HANDLER);
    let work = move || -> () {
        #[cfg(feature = "keyed")]
        #[allow(clippy::shadow_same)]
        let key: String = key;
        #[allow(clippy::shadow_same)]
        let mut stop: Stop = stop;
        stop.now();
    };
    #[allow(clippy::needless_return)]
    return crate::tasks::__private::launch_blocking::<
        (),
        _,
    >(run, work, crate::tasks::__private::Probe::<()>::NEW.classify());
}
