//! Wakers that catch the panics of the wakers they wrap.
//! Owns the wrapping; must never know what is awaited.

use crate::util::panic::catch_and_ignore;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// Wraps the waker of one future. The future waits in a list with others: if a waker panicked there, the loop over the list would
/// end, and the other futures would never be woken.
#[derive(Debug, Default)]
pub(crate) struct Contained {
    /// The waker of the last poll, and its wrapper.
    wakers: Option<(Waker, Waker)>,
}

impl Contained {
    /// Returns the wrapper of `waker`. Reuses the one of the last poll if it wakes the same task.
    pub(crate) fn waker(&mut self, waker: &Waker) -> &Waker {
        if self
            .wakers
            .as_ref()
            .is_some_and(|(last, _)| !last.will_wake(waker))
        {
            self.wakers = None;
        }
        let (_, wrapper) = self.wakers.get_or_insert_with(|| {
            let wrapper = Arc::new(Wrapper(Some(waker.clone())));
            (waker.clone(), Waker::from(wrapper))
        });
        wrapper
    }
}

/// Awaits `future` with a waker that does not panic.
pub(crate) async fn contained<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut wakers = Contained::default();
    poll_fn(|cx| {
        let waker = wakers.waker(cx.waker());
        future.as_mut().poll(&mut Context::from_waker(waker))
    })
    .await
}

struct Wrapper(Option<Waker>);

impl Wake for Wrapper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(waker) = &self.0 {
            catch_and_ignore(|| waker.wake_by_ref());
        }
    }
}

impl Drop for Wrapper {
    fn drop(&mut self) {
        // The list drops its wakers in the same loop.
        catch_and_ignore(|| drop(self.0.take()));
    }
}
