//! Every option that a call may have, and all of them at once.
use bgtask::{Kind, OnShutdown, spawn};
use std::io;

fn handler(name: &str) -> &'static bgtask::Handler {
    bgtask::handlers()
        .into_iter()
        .find(|handler| handler.name() == name)
        .expect("it is linked")
}

#[test]
fn runs() {
    crate::run(async {
        let key = 1_u8;
        assert_eq!(spawn!("timeout", timeout = "30s", async { 1 }).await, Ok(1));
        assert_eq!(
            spawn!("retry", retry, async move { Ok::<_, String>(key) }).await,
            Ok(Ok(1))
        );
        assert_eq!(
            spawn!(
                "retry of a closure",
                retry(max = 3, panics),
                move |token| async move { token.is_cancelled() }
            )
            .await,
            Ok(false)
        );
        assert_eq!(
            spawn!("retry of what blocks", retry(panics), move || key).await,
            Ok(1)
        );
        assert_eq!(
            spawn!("concurrency", concurrency = 8, async {}).await,
            Ok(())
        );
        assert_eq!(
            spawn!(
                "queue",
                concurrency(max = 1, queue = 3, overflow = "drop_oldest", key = key),
                async {}
            )
            .await,
            Ok(())
        );
        assert_eq!(spawn!("rate", rate = "100/s", async {}).await, Ok(()));
        assert_eq!(
            spawn!("coalesce", coalesce(key = key, policy = "skip"), async {}).await,
            Ok(())
        );
        assert_eq!(spawn!("coalesce all", coalesce, || ()).await, Ok(()));
        assert_eq!(
            spawn!("on_shutdown", on_shutdown = "cancel", async {}).await,
            Ok(())
        );
        assert_eq!(
            spawn!("warn_after", warn_after = "30s", async {}).await,
            Ok(())
        );
        assert_eq!(spawn!("log", log = "off", || ()).await, Ok(()));
        let all = spawn!(
            "all",
            timeout = "30s",
            retry(
                max = 5,
                backoff = "exponential",
                base = "200ms",
                cap = "30s",
                jitter,
                when = |error| error.kind() == io::ErrorKind::TimedOut,
                panics
            ),
            concurrency(max = 8, queue = 100, overflow = "refuse", key = key),
            rate(limit = "100/s", key = (key, 1), overflow = "refuse"),
            coalesce(key = key, policy = "trailing"),
            on_shutdown = "finish",
            warn_after = "never",
            log = "info",
            move |token| async move {
                drop(token);
                io::Result::Ok(key)
            },
        );
        assert_eq!(all.await.unwrap().unwrap(), 1);
        let all = handler("all");
        assert_eq!(
            all.options().to_string(),
            "timeout = 30s, retry(max = 5, jitter, panics), concurrency(max = 8, queue = 100, overflow = refuse), \
             coalesce(policy = trailing), rate(limit = 100/s, overflow = refuse), warn_after = never, \
             on_shutdown = finish, log = info"
        );
        assert!(all.takes_token());
        assert_eq!(
            (all.kind(), all.on_shutdown()),
            (Kind::Async, OnShutdown::Finish)
        );
        assert_eq!(handler("coalesce all").kind(), Kind::Blocking);
    });
}
