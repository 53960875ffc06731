//! `rate = "100/s"`: at most so many starts in any window of that length.
//! Owns the recent starts of one key; must never know tasks or what starts.

use super::postponed::Postponed;
use crate::util::fmt::Exact;
use crate::util::panic::catch_and_ignore;
use crate::util::sync::atomic::{AtomicBool, Ordering};
use crate::util::sync::{Mutex, MutexGuard, broken};
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// `rate(…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub rate: Rate,
    /// A call that exceeds the rate is refused instead of waiting.
    pub refuses: bool,
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.refuses {
            write!(f, "rate(limit = {}, overflow = refuse)", self.rate)
        } else {
            write!(f, "rate = {}", self.rate)
        }
    }
}

/// So many starts in any window of this length: a constant for the option `rate`.
///
/// # Examples
///
/// ```
/// use bgtask::Rate;
///
/// const RATE: Rate = Rate::per_second(100);
///
/// #[bgtask::background(rate = RATE)]
/// async fn ask(question: String) { /* … */ }
///
/// assert_eq!(RATE.to_string(), "100/s");
/// assert_eq!("100/s".parse(), Ok(RATE));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    limit: u32,
    per: Duration,
}

impl Rate {
    /// Returns a rate of `limit` starts in any window of the length `per`.
    ///
    /// # Panics
    ///
    /// If one of them is zero.
    #[must_use]
    #[track_caller]
    pub const fn new(limit: u32, per: Duration) -> Self {
        assert!(limit > 0, "a rate must allow at least 1 start");
        assert!(
            !per.is_zero(),
            "the window of a rate must be longer than zero"
        );
        Self { limit, per }
    }

    /// Returns a rate of `limit` starts in any second.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    #[must_use]
    #[track_caller]
    pub const fn per_second(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(1))
    }

    /// Returns a rate of `limit` starts in any minute.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    #[must_use]
    #[track_caller]
    pub const fn per_minute(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(60))
    }

    /// Returns a rate of `limit` starts in any hour.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    #[must_use]
    #[track_caller]
    pub const fn per_hour(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(60 * 60))
    }

    /// Returns how many starts a window may contain.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Returns the length of the window.
    #[must_use]
    pub const fn per(&self) -> Duration {
        self.per
    }
}

impl fmt::Display for Rate {
    /// `100/s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = Exact(self.per).to_string();
        // "100/s" rather than "100/1s".
        let per = match per.strip_prefix('1') {
            Some(unit @ ("h" | "m" | "s" | "ms")) => unit,
            _ => &per,
        };
        f.pad(&format!("{}/{per}", self.limit))
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    /// Parses a rate as the attribute spells it: `"100/s"`, `"10/m"`, `"5/30s"`.
    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let parse = || {
            let (limit, per) = text.split_once('/')?;
            let is_number = limit.bytes().all(|byte| byte.is_ascii_digit());
            let limit = limit.parse().ok().filter(|limit| is_number && *limit > 0)?;
            let per = if per.starts_with(|first: char| first.is_ascii_digit()) {
                humantime::parse_duration(per).ok()?
            } else {
                humantime::parse_duration(&format!("1{per}")).ok()?
            };
            (!per.is_zero()).then_some(Self { limit, per })
        };
        parse().ok_or_else(|| ParseRateError(text.to_owned()))
    }
}

/// The text is no [`Rate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseRateError(String);

impl fmt::Display for ParseRateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(
            f,
            "expected a rate such as \"100/s\" or \"10/m\", found {text:?}"
        )
    }
}

impl std::error::Error for ParseRateError {}

/// A window with less capacity than this is not shrunk.
const SMALL: usize = 64;

/// The starts of one key.
///
/// We do not use `governor`: the burst it allows comes on top of its steady rate, so a window may contain twice the limit, and
/// without a burst it would space out the first two calls. This window is exact, and uses tokio's clock, which tests can pause.
#[derive(Debug)]
pub(crate) struct Window {
    starts: Mutex<Starts>,
    /// The attempts of durable jobs that found no free start.
    postponed: Mutex<Option<Box<Postponed>>>,
}

#[derive(Debug)]
struct Starts {
    rate: Rate,
    /// When the rate was changed last.
    changed: Option<Instant>,
    /// The starts of the last window, at most [`Rate::limit`], oldest first; more only after the limit was lowered.
    times: VecDeque<Instant>,
    /// The calls that wait for a start, in order. The first has the timer, and the others wait to be first: so a call that leaves
    /// delays no other.
    waiting: VecDeque<Arc<Waiter>>,
    /// How many of these have left and are still listed.
    left: usize,
}

#[derive(Debug)]
struct Waiter {
    /// When it began to wait.
    since: Instant,
    /// It does not wait any more. Changed and read under the lock of [`Window::starts`] alone.
    has_left: AtomicBool,
    /// Notified when the waiter becomes the first, and then whenever the rate changes.
    is_first: Notify,
}

/// A call's place among the waiting ones. Dropped without a start, it gives its place back.
struct Place<'a> {
    window: &'a Window,
    waiter: Arc<Waiter>,
    has_start: bool,
}

/// The next step of a waiting call.
enum Next {
    Start,
    SleepUntil(Instant),
    /// It waits until it is the first.
    Wait,
}

impl Window {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            starts: Mutex::new(Starts {
                rate,
                changed: None,
                times: VecDeque::new(),
                waiting: VecDeque::new(),
                left: 0,
            }),
            postponed: Mutex::default(),
        }
    }

    /// Changes the rate. The call that waits in front looks again when its start is due; those behind it follow it.
    pub(crate) fn set_rate(&self, rate: Rate, now: Instant) {
        let first = {
            let mut starts = self.lock();
            if starts.rate == rate {
                return;
            }
            starts.rate = rate;
            starts.changed = Some(now);
            starts.waiting.front().cloned()
        };
        notify(first);
    }

    /// Reserves `now`, if it is free. Returns whether it was.
    pub(crate) fn try_reserve(&self, now: Instant) -> bool {
        let mut starts = self.lock();
        let is_free = starts.is_free(now);
        if broken!("reserved_in_two_steps") {
            drop(starts);
            starts = self.lock();
        }
        if is_free {
            starts.push(now);
        }
        is_free
    }

    /// Waits for a start. The calls that wait get their starts in the order of their first polls.
    ///
    /// # Cancel safety
    /// Dropping the future gives the place back: the calls behind it move up.
    pub(crate) async fn wait(&self, now: Instant) {
        let mut place = self.queue(now);
        loop {
            match place.next(Instant::now()) {
                Next::Start => return,
                // Until then, unless the rate changes. A timeout is no error here.
                Next::SleepUntil(start) => {
                    let _ = timeout_at(start, place.waiter.is_first.notified()).await;
                }
                Next::Wait => place.waiter.is_first.notified().await,
            }
        }
    }

    /// Adds a call to those that wait.
    fn queue(&self, now: Instant) -> Place<'_> {
        let waiter = Arc::new(Waiter {
            since: now,
            has_left: AtomicBool::new(false),
            is_first: Notify::new(),
        });
        self.lock().waiting.push_back(waiter.clone());
        Place {
            window: self,
            waiter,
            has_start: false,
        }
    }

    /// Reserves `now`, if it is free: for the attempt of a durable job, which waits in its queue.
    ///
    /// # Errors
    /// The pause before the next try, if it is not free.
    pub(crate) fn try_reserve_or_postpone(&self, now: Instant) -> Result<(), Duration> {
        let next = {
            let mut starts = self.lock();
            let next = starts.next(now);
            if next <= now {
                starts.push(now);
            }
            next
        };
        let mut postponed = self.postponed.lock();
        let postponed = postponed.get_or_insert_default();
        if next > now {
            return Err(postponed.pause(now, next - now));
        }
        postponed.start(now);
        Ok(())
    }

    /// Returns whether `now` is free, without reserving it.
    pub(crate) fn is_free(&self, now: Instant) -> bool {
        self.lock().is_free(now)
    }

    /// Returns whether no start matters any more.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let starts = self.lock();
        let is_old = |last: &Instant| *last + starts.rate.per <= now;
        starts.waiting.is_empty() && starts.times.back().is_none_or(is_old)
    }

    /// Held for a few moves of the queues. Nothing panics under it, and no waker runs.
    fn lock(&self) -> MutexGuard<'_, Starts> {
        self.starts.lock()
    }
}

impl Starts {
    fn is_free(&self, now: Instant) -> bool {
        self.waiting.is_empty() && self.next(now) <= now
    }

    /// Returns the next free start: not before the last one, and at least one window after the start that is
    /// `limit` starts back.
    fn next(&self, now: Instant) -> Instant {
        let after_last = self.times.back().copied().unwrap_or(now);
        let back = self.times.len().checked_sub(self.rate.limit as usize);
        let window = match back.and_then(|back| self.times.get(back)) {
            Some(first) => *first + self.rate.per,
            None => now,
        };
        now.max(after_last).max(window)
    }

    /// Adds a start. Removes starts that are a window older: no later start comes before this one, so they limit none.
    fn push(&mut self, start: Instant) {
        if let Some(newest_old) = start.checked_sub(self.rate.per) {
            // Two at a time, so that the queue shrinks although each call adds one, and no call has to remove many. The first is
            // always old enough if there are `limit` starts.
            for _ in 0..2 {
                if self.times.front().is_some_and(|first| *first <= newest_old) {
                    self.times.pop_front();
                }
            }
        }
        self.times.push_back(start);
        if self.times.capacity() > SMALL && self.times.len() < self.times.capacity() / 8 {
            let room = 2 * self.times.len();
            self.times.shrink_to(room);
        }
    }

    /// Removes the first waiter, and those behind it that have left. Returns the one that is the first now, which the caller notifies
    /// once the lock is released.
    fn pop_first(&mut self) -> Option<Arc<Waiter>> {
        self.waiting.pop_front();
        // Relaxed: the lock orders it.
        while let Some(first) = self.waiting.front()
            && first.has_left.load(Ordering::Relaxed)
        {
            self.waiting.pop_front();
            self.left -= 1;
        }
        if self.waiting.capacity() > SMALL && self.waiting.len() < self.waiting.capacity() / 8 {
            self.waiting.shrink_to(2 * self.waiting.len());
        }
        self.waiting.front().cloned()
    }

    fn is_first(&self, waiter: &Arc<Waiter>) -> bool {
        self.waiting
            .front()
            .is_some_and(|first| Arc::ptr_eq(first, waiter))
    }
}

impl Place<'_> {
    /// Returns what the call does next. Takes a start if there is one by now.
    fn next(&mut self, now: Instant) -> Next {
        let first = {
            let mut starts = self.window.lock();
            if !starts.is_first(&self.waiter) {
                return Next::Wait;
            }
            // The start that the call would have had if it had never slept: timers are late, and must not add up. But none before
            // the rate was changed, because it was not due by then.
            let since = starts
                .changed
                .map_or(self.waiter.since, |changed| changed.max(self.waiter.since));
            let start = starts.next(since);
            if start > now {
                return Next::SleepUntil(start);
            }
            starts.push(start);
            self.has_start = true;
            starts.pop_first()
        };
        notify(first);
        Next::Start
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.has_start {
            return;
        }
        let first = {
            let mut starts = self.window.lock();
            if starts.is_first(&self.waiter) {
                starts.pop_first()
            } else {
                // Relaxed: the lock orders it.
                self.waiter.has_left.store(true, Ordering::Relaxed);
                starts.left += 1;
                // Not each time, because a removal visits all: this visits at most twice as many as have left.
                if starts.left > starts.waiting.len() / 2 {
                    let waits = |waiter: &Arc<Waiter>| !waiter.has_left.load(Ordering::Relaxed);
                    starts.waiting.retain(waits);
                    starts.left = 0;
                }
                None
            }
        };
        notify(first);
    }
}

/// Notifies the call that is the first of those that wait now.
fn notify(first: Option<Arc<Waiter>>) {
    if let Some(first) = first {
        // A waker may be any code.
        catch_and_ignore(|| first.is_first.notify_one());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(limit: u32) -> Window {
        Window::new(Rate::per_second(limit))
    }

    #[test]
    fn no_window_wherever_it_begins_contains_more_than_the_limit() {
        let window = window(5);
        let begin = Instant::now();
        let mut random = fastrand::Rng::with_seed(7);
        let mut now = begin;
        let mut starts = Vec::new();
        for _ in 0..500 {
            now += Duration::from_millis(random.u64(0..400));
            if window.try_reserve(now) {
                starts.push(now);
            }
        }
        for (index, start) in starts.iter().enumerate() {
            let within = starts[index..]
                .iter()
                .take_while(|later| **later < *start + Duration::from_secs(1));
            assert!(within.count() <= 5);
        }
    }

    /// Returns after how many seconds the call starts, if it is the first of those that wait.
    fn seconds(place: &mut Place<'_>, begin: Instant) -> Option<u64> {
        match place.next(begin) {
            Next::Start => Some(0),
            Next::SleepUntil(start) => Some((start - begin).as_secs()),
            Next::Wait => None,
        }
    }

    #[test]
    fn starts_within_the_limit_are_immediate_and_the_rest_one_window_later() {
        let window = window(3);
        let begin = Instant::now();
        let mut places: Vec<_> = (0..7).map(|_| window.queue(begin)).collect();
        assert!(!window.try_reserve(begin), "others wait");
        for (place, due) in places.iter_mut().zip([0, 0, 0, 1, 1, 1, 2]) {
            assert_eq!(seconds(place, begin), Some(due));
            // The timer is late, which delays no start after it.
            let late = begin + Duration::from_secs(due) + Duration::from_millis(3);
            assert!(matches!(place.next(late), Next::Start) || due == 0);
        }
        assert!(!window.is_idle(begin + Duration::from_millis(2_999)));
        assert!(window.is_idle(begin + Duration::from_secs(3)));
    }

    #[test]
    fn a_call_that_leaves_gives_its_place_to_the_next() {
        let window = window(1);
        let begin = Instant::now();
        assert!(window.try_reserve(begin));
        let [mut a, mut b, c, mut d] = [(); 4].map(|()| window.queue(begin));
        assert_eq!(seconds(&mut a, begin), Some(1));
        assert_eq!(
            (seconds(&mut b, begin), seconds(&mut d, begin)),
            (None, None)
        );
        drop(c);
        drop(a);
        assert_eq!(seconds(&mut b, begin), Some(1));
        drop(b);
        assert_eq!(seconds(&mut d, begin), Some(1));
        assert!(!window.is_free(begin + Duration::from_secs(5)), "d waits");
        drop(d);
        assert!(window.is_free(begin + Duration::from_secs(1)));
        assert!(window.is_idle(begin + Duration::from_secs(1)));
    }

    #[test]
    fn the_calls_that_have_left_are_not_kept() {
        let window = window(1);
        let begin = Instant::now();
        assert!(window.try_reserve(begin));
        let first = window.queue(begin);
        for _ in 0..10_000 {
            drop(window.queue(begin));
        }
        let mut rest: Vec<_> = (0..10_000).map(|_| window.queue(begin)).collect();
        assert!(window.lock().waiting.len() <= 10_002);
        rest.truncate(1);
        assert!(
            window.lock().waiting.len() <= 4,
            "{}",
            window.lock().waiting.len()
        );
        drop((first, rest));
        assert_eq!(window.lock().waiting.len(), 0);
        assert_eq!(window.lock().left, 0);
    }

    #[test]
    fn a_moment_that_is_not_free_is_not_reserved() {
        let window = window(1);
        let now = Instant::now();
        assert!(window.try_reserve(now));
        assert!(!window.try_reserve(now + Duration::from_millis(999)));
        assert!(!window.is_idle(now + Duration::from_millis(999)));
        assert!(window.is_idle(now + Duration::from_secs(1)));
        assert!(window.try_reserve(now + Duration::from_secs(1)));
    }

    #[test]
    fn only_the_starts_of_the_last_window_are_kept() {
        let window = window(10_000);
        let begin = Instant::now();
        for _ in 0..10_000 {
            assert!(window.try_reserve(begin));
        }
        let mut now = begin + Duration::from_secs(1);
        for _ in 0..20_000 {
            now += Duration::from_millis(10);
            assert!(window.try_reserve(now));
        }
        let times = &window.lock().times;
        assert!(times.len() <= 101, "{}", times.len());
        assert!(times.capacity() <= 1024, "{}", times.capacity());
    }
}
