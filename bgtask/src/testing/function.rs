//! The background function that a test passes, by itself or by name.
//! Owns the look-up among the linked functions; must never know calls.

use crate::TaskHandle;
use crate::handler::{Handler, handlers};
use std::any::type_name;
use std::collections::BTreeSet;

/// A background function that a test refers to: the function itself, such as `refresh` or `Mailer::send`, or its name as a
/// string.
///
/// Prefer the function, because the compiler checks it. For a generic function pass one instance, such as `fetch::<Page>`; it
/// stands for all of them. A function with an `impl Trait` parameter cannot be passed, so pass its name as
/// [`handlers()`](crate::handlers) lists it, or the end of that name: `"refresh"` or `"cache::refresh"`. Blocks of
/// [`spawn!`](crate::spawn!) also need the name, which stands for all blocks with that name.
///
/// The compiler infers `M`, which only distinguishes functions from names.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a background function",
    label = "expected a function with `#[background]`, or a name",
    note = "put `#[bgtask::background]` on the function and pass it without calling it, or pass its name as a string"
)]
pub trait BackgroundFunction<M> {
    #[doc(hidden)]
    fn reference(&self) -> Reference<'_>;
}

/// How a [`BackgroundFunction`] is referred to.
#[derive(Debug)]
pub enum Reference<'a> {
    Named(&'a str),
    /// The name of the function item's type.
    Item(&'static str),
}

/// The marker `M` of a name.
#[derive(Debug)]
pub enum ByName {}

#[diagnostic::do_not_recommend]
impl BackgroundFunction<ByName> for &str {
    fn reference(&self) -> Reference<'_> {
        Reference::Named(self)
    }
}

#[diagnostic::do_not_recommend]
impl BackgroundFunction<ByName> for &String {
    fn reference(&self) -> Reference<'_> {
        Reference::Named(self)
    }
}

/// Calls a macro with the parameters of functions of all sizes that can be passed.
macro_rules! arities {
    ($each:ident) => {
        $each! {
            ()
            (A)
            (A B)
            (A B C)
            (A B C D)
            (A B C D E)
            (A B C D E G)
            (A B C D E G H)
            (A B C D E G H I)
            (A B C D E G H I J)
            (A B C D E G H I J K)
            (A B C D E G H I J K L)
            (A B C D E G H I J K L N)
        }
    };
}

macro_rules! functions {
    ($(($($argument:ident)*))*) => {$(
        #[diagnostic::do_not_recommend]
        impl<F, T, $($argument),*> BackgroundFunction<fn($($argument),*) -> T> for F
        where
            F: Fn($($argument),*) -> TaskHandle<T>,
        {
            fn reference(&self) -> Reference<'_> {
                Reference::Item(type_name::<F>())
            }
        }
    )*};
}
arities!(functions);

/// The marker `M` of a durable function.
#[cfg(feature = "durable")]
#[derive(Debug)]
pub struct Stored<F>(std::marker::PhantomData<F>);

#[cfg(feature = "durable")]
macro_rules! durable_functions {
    ($(($($argument:ident)*))*) => {$(
        #[diagnostic::do_not_recommend]
        impl<F, T, $($argument),*> BackgroundFunction<Stored<fn($($argument),*) -> T>> for F
        where
            F: Fn($($argument),*) -> crate::durable::Enqueue<T>,
        {
            fn reference(&self) -> Reference<'_> {
                Reference::Item(type_name::<F>())
            }
        }
    )*};
}
#[cfg(feature = "durable")]
arities!(durable_functions);

/// The function that a test refers to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    /// The function that was passed, if several have one name, as in several tests of one file.
    only: Option<&'static Handler>,
}

impl Function {
    #[track_caller]
    pub(super) fn new<M>(function: &impl BackgroundFunction<M>) -> Self {
        match function.reference() {
            Reference::Named(written) => Self {
                name: by_name(written),
                only: None,
            },
            Reference::Item(path) => {
                let handler = by_path(path);
                Self {
                    name: handler.name(),
                    only: Some(handler),
                }
            }
        }
    }

    pub(super) fn is(&self, handler: &'static Handler) -> bool {
        match self.only {
            Some(only) => std::ptr::eq(only, handler),
            None => handler.name() == self.name,
        }
    }

    /// Returns all functions that match.
    pub(super) fn handlers(&self) -> impl Iterator<Item = &'static Handler> {
        let all = handlers().into_iter();
        all.filter(move |handler| self.is(handler))
    }
}

/// Returns the full name of the only background function whose name ends with `written`.
#[track_caller]
fn by_name(written: &str) -> &'static str {
    let matches = |name: &str| match name.strip_suffix(written) {
        Some(before) => before.is_empty() || before.ends_with("::"),
        None => false,
    };
    let names: BTreeSet<&'static str> = handlers().iter().map(|handler| handler.name()).collect();
    if let Some(whole) = names.get(written) {
        return whole;
    }
    let found: Vec<_> = names.iter().copied().filter(|name| matches(name)).collect();
    match found[..] {
        [only] => only,
        [] => no_such_function(written, names),
        _ => panic!(
            "`{written}` is ambiguous, because it matches {}: pass more of the name",
            found.join(", ")
        ),
    }
}

#[track_caller]
fn no_such_function(written: &str, names: BTreeSet<&'static str>) -> ! {
    panic!("{}", unknown(written, names))
}

/// Returns the message for an unknown name: suggests the closest name, if it is close, and lists the others.
fn unknown(written: &str, names: BTreeSet<&'static str>) -> String {
    const MAX_LISTED: usize = 20;
    let mut message =
        format!("there is no background function or block `{written}` in this program");
    let wanted = written.rsplit("::").next().unwrap_or(written);
    let far = |name: &'static str| distance(last_segment(name), wanted);
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|name| far(name));
    let mut listed = &names[..];
    let introduction = match names.first() {
        None => return message + ", nor any other",
        // More than half of the letters differ, so it is not a typo.
        Some(nearest) if far(nearest) * 2 > wanted.chars().count() => "; there are: ",
        Some(nearest) => {
            message.push_str(&format!("; did you mean `{nearest}`?"));
            listed = &names[1..];
            " There are also: "
        }
    };
    if !listed.is_empty() {
        message.push_str(introduction);
        message.push_str(&listed[..listed.len().min(MAX_LISTED)].join(", "));
    }
    if listed.len() > MAX_LISTED {
        message.push_str(", …");
    }
    message
}

/// Returns the Levenshtein distance: how many letters must be inserted, removed or changed to turn one word into the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..other.len() {
            let changed = diagonal + usize::from(letter != other[column]);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// Returns the background function whose type has this name. The same compiler has written the path of each handler.
#[track_caller]
fn by_path(path: &'static str) -> &'static Handler {
    let all = handlers();
    if let Some(exact) = all.iter().find(|handler| handler.path() == path) {
        return exact;
    }
    // The handler of a generic function stands for all instances, and does not know their types.
    let bare = without_generics(path);
    let mut found = all
        .iter()
        .filter(|handler| without_generics(handler.path()) == bare);
    match (found.next(), found.next()) {
        (Some(only), None) => only,
        (Some(_), Some(_)) => panic!(
            "`{path}` matches several background functions: pass the name of one of them as a string"
        ),
        (None, _) => panic!(
            "`{path}` returns a `TaskHandle` but is not a background function: pass the function with `#[background]`, \
             without calling it"
        ),
    }
}

/// Returns the path without the generic arguments of its segments. Angle brackets that begin a segment, as those of an `impl`,
/// stay.
fn without_generics(path: &str) -> String {
    let mut bare = String::with_capacity(path.len());
    let mut depth = 0;
    let mut before = ':';
    for character in path.chars() {
        match character {
            '<' if depth > 0 || before.is_alphanumeric() || before == '_' => depth += 1,
            // The arrow of a function type closes no bracket.
            '>' if depth > 0 && before != '-' => depth -= 1,
            _ if depth == 0 => bare.push(character),
            _ => {}
        }
        before = character;
    }
    bare
}

/// Returns a function's name without its module.
pub(super) fn last_segment(name: &str) -> &str {
    name.rsplit("::").next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::{distance, unknown, without_generics};

    #[test]
    fn the_distance_counts_letters() {
        for (one, other, apart) in [
            ("send", "send", 0),
            ("send", "sned", 2),
            ("", "ab", 2),
            ("save", "saves", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!((distance(one, other), distance(other, one)), (apart, apart));
        }
    }

    #[test]
    fn the_message_for_an_unknown_name_lists_the_known_ones() {
        for (written, names, suggestion) in [
            ("save", &[][..], ", nor any other"),
            ("sav", &["kit::save"], "; did you mean `kit::save`?"),
            (
                "kit::sav",
                &["kit::fetch", "kit::save", "kit::send"],
                "; did you mean `kit::save`? There are also: kit::send, kit::fetch",
            ),
            ("ad", &["kit::add"], "; did you mean `kit::add`?"),
            (
                "main",
                &["kit::fetch", "kit::save"],
                "; there are: kit::save, kit::fetch",
            ),
        ] {
            assert_eq!(
                unknown(written, names.iter().copied().collect()),
                format!(
                    "there is no background function or block `{written}` in this program{suggestion}"
                )
            );
        }
    }

    #[test]
    fn at_most_twenty_functions_are_listed() {
        const LETTERS: &str = "abcdefghijklmnopqrstuv";
        let names = |count: usize| (0..count).map(|at| &LETTERS[at..=at]).collect();
        let commas = |count: usize| unknown("wxyz", names(count)).matches(", ").count();
        assert_eq!((commas(20), commas(21), commas(22)), (19, 20, 20));
        assert!(unknown("wxyz", names(21)).ends_with(", t, …"));
    }

    #[test]
    fn generic_arguments_are_removed_from_a_path() {
        for (path, bare) in [
            ("a::plain", "a::plain"),
            ("a::sum<alloc::vec::Vec<u8>, 3>", "a::sum"),
            ("a::M<fn(u8) -> a::B<u8>>::send<[u8; 2]>", "a::M::send"),
            ("a::M<_>::send", "a::M::send"),
            ("a::sum<(<u8 as a::Tr>::Of, u8)>", "a::sum"),
            ("a::sub::<impl a::M<u8>>::send", "a::sub::<impl a::M>::send"),
            ("<a::N<u8> as a::Tr>::send", "<a::N as a::Tr>::send"),
            (
                "a::main::{{closure}}::nested",
                "a::main::{{closure}}::nested",
            ),
        ] {
            assert_eq!(without_generics(path), bare);
        }
    }
}
