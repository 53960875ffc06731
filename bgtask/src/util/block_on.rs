//! A future that is run to its end on the calling thread, which waits for it.
//! Enters no runtime: code within may still call `Handle::block_on`, as it may on any thread of the blocking pool.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct Unpark {
    thread: Thread,
    /// Code that the future runs may park, too, and so take the token of an `unpark`.
    is_woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: pairs with the acquire in `block_on`. The next poll sees what the waker's thread did before.
        self.is_woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Polls the future until it is ready.
pub(crate) fn block_on<T>(mut future: Pin<Box<dyn Future<Output = T> + Send + '_>>) -> T {
    let unpark = Arc::new(Unpark {
        thread: thread::current(),
        is_woken: AtomicBool::new(false),
    });
    let waker = Waker::from(unpark.clone());
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        // Acquire: see `wake_by_ref`.
        while !unpark.is_woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_future_is_woken_from_another_thread_even_if_it_parks_itself() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let waker = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            send.send(7).unwrap();
        });
        let output = block_on(Box::pin(async move {
            thread::current().unpark();
            thread::park();
            receive.await.unwrap()
        }));
        assert_eq!(output, 7);
        waker.join().unwrap();
    }
}
