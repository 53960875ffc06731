//! Names and patterns of functions: which fits, and which comes first. Must never know what they are for.

/// Returns whether a name fits a pattern, in which `*` stands for any characters.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    let (between, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The first place of each is the best: it leaves the most to the others.
    for part in between.split('*') {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(end)
}

/// Returns the rank of a name or a pattern: the higher one comes before the lower one.
pub(super) fn rank(pattern: &str) -> (bool, usize) {
    (!pattern.contains('*'), pattern.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name) in [
            ("shop::mail::send", "shop::mail::send"),
            ("*", "shop::send"),
            ("shop::*", "shop::mail::send"),
            ("*::send", "shop::mail::send"),
            ("shop::*::send", "shop::mail::send"),
            ("*mail*", "shop::mail::send"),
            ("s*a*a*d", "s aa d"),
            ("shop::**", "shop::send"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("shop::mail", "shop::mail::send"),
            ("shop::*::send", "shop::send"),
            ("*::sen", "shop::send"),
            ("mail::*", "shop::mail::send"),
            ("s*a*a*d", "s a d"),
            ("", "shop"),
            // The same characters cannot be both the start and the end.
            ("shop*op", "shop"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_name_comes_before_patterns_and_a_longer_pattern_before_a_shorter_one() {
        assert!(rank("shop::send") > rank("shop::mail::*"));
        assert!(rank("shop::mail::*") > rank("shop::*"));
    }
}
