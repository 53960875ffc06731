//! The values that a policy keeps for each key: created on the first use, dropped some time after the last.
//! Owns the map and its sweeps, a few keys per call; must never know the values.

use super::key::Key;
use crate::util::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::util::sync::{Mutex, MutexGuard, broken};
use std::borrow::Borrow;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

/// The number of maps, each with its own lock. A map that grows or shrinks moves all its entries, and blocks only the keys of its
/// own shard. One in a model.
const SHARDS: usize = if cfg!(bgtask_shuttle) { 1 } else { 64 };

/// A shard with fewer keys than this is not swept.
const ENOUGH: usize = if cfg!(bgtask_shuttle) { 1 } else { 5 };

/// The least and the most keys that one sweep checks. The most take half a millisecond if none of them is in a CPU cache.
const STRIDES: (usize, usize) = (2, 128);

/// A call with a known key sweeps only once in this many calls, unless the last sweep found much.
const SELDOM: usize = if cfg!(bgtask_shuttle) { 1 } else { 16 };

/// A map with less capacity than this is not shrunk.
const SMALL: usize = 64;

#[derive(Debug)]
pub(crate) struct Keyed<V> {
    shards: [Mutex<Shard<V>>; SHARDS],
    hasher: RandomState,
    // Relaxed, all of them: they decide when and where to sweep, and order no other memory.
    calls: AtomicUsize,
    sweeps: AtomicUsize,
    /// Whether the last sweep found much. If so, the next call also sweeps.
    finds_much: AtomicBool,
}

#[derive(Debug)]
struct Shard<V> {
    entries: HashMap<Hashed, Arc<V>, BuildHasherDefault<Identity>>,
    /// All keys, in the order in which sweeps check them.
    keys: VecDeque<Hashed>,
    /// How many keys the next sweep checks.
    stride: usize,
}

/// A key with its hash. A map that grows or shrinks has to move its keys, but need not read them.
#[derive(Clone, Debug)]
struct Hashed {
    hash: u64,
    key: Arc<Key>,
}

/// The borrowed form of a [`Hashed`], to look one up.
trait Lookup {
    fn parts(&self) -> (u64, &Key);
}

impl Lookup for Hashed {
    fn parts(&self) -> (u64, &Key) {
        (self.hash, &self.key)
    }
}

impl Lookup for (u64, &Key) {
    fn parts(&self) -> (u64, &Key) {
        *self
    }
}

impl<'k> Borrow<dyn Lookup + 'k> for Hashed {
    fn borrow(&self) -> &(dyn Lookup + 'k) {
        self
    }
}

impl PartialEq for dyn Lookup + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Lookup + '_ {}

impl Hash for dyn Lookup + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.parts().0);
    }
}

impl PartialEq for Hashed {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Hashed {}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// A hasher that returns the hash it is given.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a `Hashed` feeds only its hash");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<V> Default for Keyed<V> {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::new())),
            hasher: RandomState::new(),
            calls: AtomicUsize::new(0),
            sweeps: AtomicUsize::new(0),
            finds_much: AtomicBool::new(false),
        }
    }
}

impl<V> Keyed<V> {
    /// Returns the value for `key`. Also checks a few other keys, and drops those values that are idle and have no other owner.
    pub(crate) fn get(
        &self,
        key: &Key,
        make: impl FnOnce() -> Arc<V>,
        is_idle: impl Fn(&V) -> bool,
    ) -> Arc<V> {
        let hash = self.hasher.hash_one(key);
        // Take the middle bits, because a map uses the lowest and the highest ones.
        let number = ((hash >> 32) as usize).rem_euclid(SHARDS);
        let (entry, is_new) = lock(&self.shards[number]).get((hash, key), make);
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        if is_new || calls.is_multiple_of(SELDOM) || self.finds_much.load(Ordering::Relaxed) {
            // Shards take turns, so that shards without calls are also swept.
            let next = self
                .sweeps
                .fetch_add(1, Ordering::Relaxed)
                .rem_euclid(SHARDS);
            let (finds_much, swept) = lock(&self.shards[next]).sweep(is_idle);
            self.finds_much.store(finds_much, Ordering::Relaxed);
            // After the lock, so that no call waits for the drop.
            drop(swept);
        }
        entry
    }
}

impl<V> Keyed<V> {
    /// Visits every value. A key that is added meanwhile is visited, or was made after the visit began.
    pub(crate) fn for_each(&self, visit: impl Fn(&Arc<V>)) {
        for shard in &self.shards {
            // Copied, so that no user code runs under the lock: a visit may wake tasks.
            let values: Vec<_> = lock(shard).entries.values().cloned().collect();
            values.iter().for_each(&visit);
        }
    }
}

impl<V> Shard<V> {
    fn new() -> Self {
        Self {
            entries: HashMap::default(),
            keys: VecDeque::new(),
            stride: STRIDES.0,
        }
    }

    /// Returns the value for a key, and whether it was created just now.
    fn get(&mut self, looked_up: (u64, &Key), make: impl FnOnce() -> Arc<V>) -> (Arc<V>, bool) {
        if let Some(entry) = self.entries.get(&looked_up as &dyn Lookup) {
            return (entry.clone(), false);
        }
        let (hash, key) = looked_up;
        let (key, entry) = (Arc::new(key.clone()), make());
        let key = Hashed { hash, key };
        self.keys.push_back(key.clone());
        self.entries.insert(key, entry.clone());
        (entry, true)
    }

    /// Checks the next few keys and removes the unused ones. A sweep that removes many keys makes the next one check more.
    /// Returns whether this one did, and what it removed.
    fn sweep(&mut self, is_idle: impl Fn(&V) -> bool) -> (bool, Vec<(Hashed, Arc<V>)>) {
        let mut swept = Vec::new();
        if self.keys.len() < ENOUGH {
            return (false, swept);
        }
        let checks = self.stride.min(self.keys.len());
        for _ in 0..checks {
            let Some(key) = self.keys.pop_front() else {
                break;
            };
            let is_unused = self.entries.get(&key).is_none_or(|entry| {
                // A call that is about to use the value holds a clone of it, made under this lock.
                (Arc::strong_count(entry) == 1 || broken!("held_key_swept")) && is_idle(entry)
            });
            if is_unused {
                swept.extend(self.entries.remove_entry(&key));
            } else {
                self.keys.push_back(key);
            }
        }
        let finds_much = 2 * swept.len() >= checks;
        self.stride = if finds_much {
            (2 * self.stride).min(STRIDES.1)
        } else {
            STRIDES.0
        };
        self.shrink();
        (finds_much, swept)
    }

    /// Returns memory once most of the capacity is empty. The remaining entries have to move, but they are few.
    fn shrink(&mut self) {
        let (room, len) = (self.entries.capacity(), self.entries.len());
        if room >= SMALL && len < room / 8 {
            self.entries.shrink_to(2 * len);
            self.keys.shrink_to(2 * len);
        }
    }
}

/// Held to look up one key, or the keys of one sweep.
/// Nothing panics under it, so the data behind a poisoned lock is still consistent.
fn lock<V>(shard: &Mutex<Shard<V>>) -> MutexGuard<'_, Shard<V>> {
    shard.lock()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::key;

    impl<V> Keyed<V> {
        fn len(&self) -> usize {
            let shards = self.shards.iter();
            shards.map(|shard| lock(shard).entries.len()).sum()
        }

        fn room(&self) -> usize {
            let room = |shard: &Shard<V>| shard.entries.capacity() + shard.keys.capacity();
            self.shards.iter().map(|shard| room(&lock(shard))).sum()
        }
    }

    fn use_once(map: &Keyed<()>, number: usize) {
        drop(map.get(&key(&number), || Arc::new(()), |()| true));
    }

    #[test]
    fn unused_keys_are_swept() {
        let map = Keyed::default();
        let held = map.get(&key("held"), || Arc::new(()), |()| true);
        for number in 0..10_000 {
            use_once(&map, number);
        }
        assert!(map.len() < 1_000, "{}", map.len());
        let again = map.get(&key("held"), || Arc::new(()), |()| true);
        assert!(Arc::ptr_eq(&held, &again));
    }

    #[test]
    fn a_value_that_is_not_idle_is_kept_although_no_call_holds_it() {
        let map = Keyed::default();
        for number in 0..1_000_usize {
            drop(map.get(&key(&number), || Arc::new(()), |()| false));
        }
        assert_eq!(map.len(), 1_000);
    }

    #[test]
    fn unused_keys_never_outnumber_the_used_ones_many_times() {
        let map = Keyed::default();
        let held: Vec<_> = (0..20_000_usize)
            .map(|number| map.get(&key(&number), || Arc::new(()), |()| true))
            .collect();
        for number in 0..100_000 {
            use_once(&map, 20_000 + number);
        }
        assert!(map.len() < 3 * held.len(), "{}", map.len());
    }

    #[test]
    fn the_map_shrinks_when_most_keys_are_gone_even_if_only_few_known_keys_are_used() {
        let map = Keyed::default();
        let held: Vec<_> = (0..100_000_usize)
            .map(|number| map.get(&key(&number), || Arc::new(()), |()| true))
            .collect();
        assert!(map.room() >= 200_000);
        drop(held);
        for call in 0..10_000 {
            use_once(&map, call % 10);
        }
        assert!(map.len() <= 10 + ENOUGH * SHARDS, "{}", map.len());
        assert!(map.room() <= 4 * SMALL * SHARDS, "{}", map.room());
    }

    #[test]
    fn one_sweep_checks_at_most_its_stride_of_keys() {
        let checks = std::cell::Cell::new(0);
        let map = Keyed::default();
        for number in 0..50_000_usize {
            drop(map.get(&key(&number), || Arc::new(()), |()| false));
        }
        for call in 0..10_000_usize {
            let before = checks.get();
            let is_idle = |(): &()| {
                checks.set(checks.get() + 1);
                true
            };
            drop(map.get(&key(&(call % 10)), || Arc::new(()), is_idle));
            assert!(checks.get() - before <= STRIDES.1);
        }
        assert!(map.len() <= 10 + ENOUGH * SHARDS, "{}", map.len());
    }
}
