//! `key = expr`: what tells apart the calls of one function, taken from any value that can be hashed.
//! Knows nothing of what keys are for.

use std::hash::{Hash, Hasher};

/// All that a value feeds to a hasher, byte by byte. Two values that are equal feed the same; so do two that differ only in
/// what their `Hash` leaves out, which is then what their type says does not matter.
///
/// Kept rather than hashed down to a number: two keys must never meet by accident. One type for all keys, so that nothing of
/// what is done with them is compiled anew for each function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key(Vec<u8>);

/// The key of a value.
pub fn key<K: Hash + ?Sized>(value: &K) -> Key {
    let mut key = Key::default();
    value.hash(&mut key);
    key
}

impl Hasher for Key {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        // Asked for by values that hash parts of themselves with a hasher's clone; what they feed on is still distinct.
        self.0.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn equal_values_have_one_key_however_they_are_held() {
        assert_eq!(key("a"), key(&String::from("a")));
        assert_eq!(key(&&7_u64), key(&7_u64));
        assert_ne!(key("a"), key("b"));
    }

    #[test]
    fn neighbouring_parts_do_not_run_into_one_another() {
        assert_ne!(key(&("ab", "c")), key(&("a", "bc")));
        assert_ne!(
            key(&(vec![1_u8], vec![2_u8, 3])),
            key(&(vec![1_u8, 2], vec![3_u8]))
        );
        assert_ne!(key(&(1_u8, Some(2_u8))), key(&(1_u8, None::<u8>)));
    }
}
