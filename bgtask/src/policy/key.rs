//! `key = expr`: distinguishes the calls of one function by any value that can be hashed.
//! Must never know what keys are for.

use std::hash::{Hash, Hasher};

/// The bytes that a value feeds to a hasher. Equal values feed the same bytes, and so do values that differ only in fields that
/// their `Hash` ignores.
///
/// The bytes are kept instead of a hash of them, so that two keys never collide. All keys have one type, so that the code that
/// uses them is compiled once instead of once per function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key(Vec<u8>);

/// Returns the key of a value.
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
        // Called by values that hash a part of themselves with a clone of the hasher, and then feed the result.
        self.0.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn equal_values_have_equal_keys_owned_or_borrowed() {
        assert_eq!(key("a"), key(&String::from("a")));
        assert_eq!(key(&&7_u64), key(&7_u64));
        assert_ne!(key("a"), key("b"));
    }

    #[test]
    fn adjacent_fields_are_kept_apart() {
        assert_ne!(key(&("ab", "c")), key(&("a", "bc")));
        assert_ne!(
            key(&(vec![1_u8], vec![2_u8, 3])),
            key(&(vec![1_u8, 2], vec![3_u8]))
        );
        assert_ne!(key(&(1_u8, Some(2_u8))), key(&(1_u8, None::<u8>)));
    }
}
