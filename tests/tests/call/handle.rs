//! The handle of a call: as a future among others, detached, and as a guard that aborts the call.

use crate::support::{counts_while_running, mixed};
use bgtask::{TaskError, background};
use bgtask_tests::{on_both_flavors, until};
use std::time::Duration;
use tokio::sync::oneshot;

/// Never ends by itself, and signals when it is dropped.
#[background(log = "off")]
async fn signals_its_drop(says: SignalsItsDrop) {
    std::future::pending::<()>().await;
    drop(says);
}

struct SignalsItsDrop(Option<oneshot::Sender<()>>);

impl Drop for SignalsItsDrop {
    fn drop(&mut self) {
        let _ = self.0.take().map(|dropped| dropped.send(()));
    }
}

fn call_that_signals_its_drop() -> (bgtask::TaskHandle<()>, oneshot::Receiver<()>) {
    let (dropped, is_dropped) = oneshot::channel();
    (signals_its_drop(SignalsItsDrop(Some(dropped))), is_dropped)
}

#[test]
fn a_handle_that_aborts_on_drop_aborts_and_one_that_is_detached_does_not() {
    on_both_flavors(async |manager| {
        let (handle, mut is_dropped) = call_that_signals_its_drop();
        let handle = handle.abort_on_drop();
        assert!(!handle.is_finished());
        let detached = handle.detach();
        tokio::task::yield_now().await;
        assert!(is_dropped.try_recv().is_err());
        drop(detached.abort_on_drop());
        is_dropped.await.unwrap();
        until("it is accounted for", || manager.stats().aborted == 1).await;

        // The guard is dropped while it waits, as a `timeout` does, and after its end.
        let (handle, is_dropped) = call_that_signals_its_drop();
        let waits = tokio::time::timeout(Duration::from_millis(1), handle.abort_on_drop());
        assert!(waits.await.is_err());
        is_dropped.await.unwrap();
        until("it is accounted for", || manager.stats().aborted == 2).await;
        assert_eq!(counts_while_running().abort_on_drop().await, Ok(1));
        assert_eq!(manager.stats().aborted, 2);
    });
}

#[test]
fn handles_are_futures_for_join_set_join_all_and_select() {
    on_both_flavors(async |manager| {
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..3 {
            set.spawn(mixed(0));
        }
        let mut ended = 0;
        while let Some(joined) = set.join_next().await {
            assert_eq!(joined.unwrap(), Ok(Ok(0)));
            ended += 1;
        }
        assert_eq!(ended, 3);

        // The set aborts its tasks, and the guards abort the calls.
        let (handle, is_dropped) = call_that_signals_its_drop();
        let handle = handle.abort_on_drop();
        set.spawn(async move {
            let _ = handle.await;
            Ok(Ok(0))
        });
        drop(set);
        is_dropped.await.unwrap();

        let all = futures_util::future::join_all([mixed(0), mixed(4)]).await;
        assert_eq!(all, [Ok(Ok(0)), Ok(Ok(4))]);

        let (mut slow, is_dropped) = call_that_signals_its_drop();
        let mut fast = mixed(0);
        tokio::select! {
            _ = &mut slow => unreachable!("it never ends"),
            ended = &mut fast => assert_eq!(ended, Ok(Ok(0))),
        }
        assert!(!slow.is_finished(), "it runs on");
        slow.abort();
        is_dropped.await.unwrap();
        assert_eq!(slow.await, Err(TaskError::Aborted));
        until("no live tasks", || manager.stats().running == 0).await;
    });
}
