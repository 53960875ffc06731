//! What no database stores, found in encoded JSON. Must never know what is encoded.

/// Returns whether a string within this JSON contains a NUL: an escape that no backslash before it escapes.
pub(super) fn has_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let before = json[..at].bytes().rev();
        before.take_while(|byte| *byte == b'\\').count() % 2 == 0
    })
}
