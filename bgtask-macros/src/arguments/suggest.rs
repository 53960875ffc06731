//! Suggestions for misspelled words.
//! Knows nothing of options.

/// Returns the name with the smallest distance to the word, if that is small enough.
pub(super) fn closest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        // Unlike the plain Levenshtein distance, this one counts two swapped letters as one mistake.
        .map(|name| (strsim::osa_distance(word, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn only_near_names_are_suggested() {
        for (word, name) in [
            ("nmae", Some("name")),
            ("logs", Some("log")),
            ("shutdown", Some("on_shutdown")),
            ("krate", Some("crate")),
            ("timeout", None),
            ("x", None),
        ] {
            let names = ["name", "log", "on_shutdown", "crate"];
            assert_eq!(closest(word, names.into_iter()), name, "{word}");
        }
    }
}
