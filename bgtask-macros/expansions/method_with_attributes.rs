impl Mailer {
    #[allow(clippy::todo)]
    #[allow(clippy::must_use_candidate)]
    #[track_caller]
    pub fn send(
        self: Arc<Self>,
        mail: Mail,
    ) -> ::bgtask::__private::TaskHandle<Result<(), Error>> {
        enum __BgtaskWork {}
        static __BGTASK_HANDLER: ::bgtask::__private::Handler = ::bgtask::__private::Handler::new(::bgtask::__private::HandlerSpec {
            name: ::core::concat!(::core::module_path!(), "::", "send"),
            path: ::core::any::type_name::<__BgtaskWork>,
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
        let run = ::bgtask::__private::begin(&__BGTASK_HANDLER);
        let token = run.token();
        #[allow(clippy::needless_return)]
        return ::bgtask::__private::launch::<
            Result<(), Error>,
            _,
        >(
            run,
            Self::send_bgtask_body(self, token, mail),
            ::bgtask::__private::Probe::<Result<(), Error>>::NEW.classify(),
        );
    }
    #[allow(clippy::todo)]
    #[instrument(name = "send", skip_all)]
    #[allow(
        clippy::large_types_passed_by_value,
        clippy::missing_const_for_fn,
        clippy::missing_docs_in_private_items,
        clippy::needless_pass_by_value,
        clippy::single_call_fn,
        clippy::unused_self
    )]
    async fn send_bgtask_body(
        self: Arc<Self>,
        stop: ShutdownToken,
        mail: Mail,
    ) -> Result<(), Error> {
        self.connection(stop).deliver(mail).await
    }
}
