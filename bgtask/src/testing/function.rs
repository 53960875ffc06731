//! Which background function a test means: by its name, or by the function itself.
//! Owns the look-up among the functions linked; knows nothing of calls.

use crate::TaskHandle;
use crate::handler::{Handler, handlers};
use std::any::type_name;
use std::collections::BTreeSet;

/// A background function as a test names it: the function itself, such as `refresh` or `Mailer::send`, or its name in a string.
///
/// The compiler checks the function, so it is the better way; of a generic one say which, `fetch::<Page>`, and all its
/// instances are meant. One that takes an `impl Trait` cannot be passed, and goes by its name: as
/// [`handlers()`](crate::handlers) has it, or the end of that, `"refresh"` or `"cache::refresh"`. A block of
/// [`spawn!`](crate::spawn!) goes by its name too; several places of one name are meant together.
///
/// `M` only tells the two apart, and the compiler finds it out.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no background function",
    label = "neither a function with `#[background]` on it, nor a name",
    note = "put `#[bgtask::background]` on the function and pass it without calling it, or pass its name in a string"
)]
pub trait BackgroundFunction<M> {
    #[doc(hidden)]
    fn meant(&self) -> Meant<'_>;
}

/// What [`BackgroundFunction`] comes down to.
#[derive(Debug)]
pub enum Meant<'a> {
    Named(&'a str),
    /// The name of the type that the function has to itself.
    Item(&'static str),
}

/// Marks what goes by its name.
#[derive(Debug)]
pub enum ByName {}

#[diagnostic::do_not_recommend]
impl BackgroundFunction<ByName> for &str {
    fn meant(&self) -> Meant<'_> {
        Meant::Named(self)
    }
}

#[diagnostic::do_not_recommend]
impl BackgroundFunction<ByName> for &String {
    fn meant(&self) -> Meant<'_> {
        Meant::Named(self)
    }
}

macro_rules! functions {
    ($(($($argument:ident)*))*) => {$(
        #[diagnostic::do_not_recommend]
        impl<F, T, $($argument),*> BackgroundFunction<fn($($argument),*) -> T> for F
        where
            F: Fn($($argument),*) -> TaskHandle<T>,
        {
            fn meant(&self) -> Meant<'_> {
                Meant::Item(type_name::<F>())
            }
        }
    )*};
}
functions! {
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

/// The function that a test means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    /// Of several of one name, as in several tests of one file, the one that was passed.
    only: Option<&'static Handler>,
}

impl Function {
    #[track_caller]
    pub(super) fn of<M>(function: &impl BackgroundFunction<M>) -> Self {
        match function.meant() {
            Meant::Named(written) => Self {
                name: by_name(written),
                only: None,
            },
            Meant::Item(path) => {
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

    /// All functions it may be.
    pub(super) fn handlers(&self) -> impl Iterator<Item = &'static Handler> {
        let all = handlers().into_iter();
        all.filter(move |handler| self.is(handler))
    }
}

/// The whole name of the one background function whose name ends so.
#[track_caller]
fn by_name(written: &str) -> &'static str {
    let ends_so = |name: &str| match name.strip_suffix(written) {
        Some(before) => before.is_empty() || before.ends_with("::"),
        None => false,
    };
    let names: BTreeSet<&'static str> = handlers().iter().map(|handler| handler.name()).collect();
    if let Some(whole) = names.get(written) {
        return whole;
    }
    let found: Vec<_> = names.iter().copied().filter(|name| ends_so(name)).collect();
    match found[..] {
        [only] => only,
        [] => no_such_function(written, names),
        _ => panic!(
            "`{written}` may be any of {}: write more of the name",
            found.join(", ")
        ),
    }
}

#[track_caller]
fn no_such_function(written: &str, names: BTreeSet<&'static str>) -> ! {
    panic!("{}", unknown(written, names))
}

/// Asks for the one that comes nearest, if it is near, and lists the others.
fn unknown(written: &str, names: BTreeSet<&'static str>) -> String {
    const NAMED: usize = 20;
    let mut message =
        format!("there is no background function or block `{written}` in this program");
    let wanted = written.rsplit("::").next().unwrap_or(written);
    let last_segment = |name: &'static str| name.rsplit("::").next().unwrap_or(name);
    let far = |name: &'static str| distance(last_segment(name), wanted);
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|name| far(name));
    let mut listed = &names[..];
    let introduction = match names.first() {
        None => return message + ", nor any other",
        // More than half of its letters are other ones: a word of its own, and no slip of the finger.
        Some(nearest) if far(nearest) * 2 > wanted.chars().count() => "; there are: ",
        Some(nearest) => {
            message.push_str(&format!("; is it `{nearest}`?"));
            listed = &names[1..];
            " There are also: "
        }
    };
    if !listed.is_empty() {
        message.push_str(introduction);
        message.push_str(&listed[..listed.len().min(NAMED)].join(", "));
    }
    if listed.len() > NAMED {
        message.push_str(", …");
    }
    message
}

/// How many letters have to be put in, left out or changed to make one word the other.
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

/// The background function whose type has this name. No two functions have one place, so it is found if it is one; the
/// compiler that wrote the one name wrote the other.
#[track_caller]
fn by_path(path: &'static str) -> &'static Handler {
    let all = handlers();
    if let Some(exact) = all.iter().find(|handler| handler.path() == path) {
        return exact;
    }
    // Of a generic one the handler stands for all instances, and does not know their types.
    let bare = without_generics(path);
    let mut found = all
        .iter()
        .filter(|handler| without_generics(handler.path()) == bare);
    match (found.next(), found.next()) {
        (Some(only), None) => only,
        (Some(_), Some(_)) => panic!(
            "`{path}` may be any of several background functions: pass the name of the one that is meant, in a string"
        ),
        (None, _) => panic!(
            "`{path}` returns a `TaskHandle` and is no background function itself: pass the function that \
             `#[background]` stands on, without calling it"
        ),
    }
}

/// The path without what its segments say in angle brackets. Those that begin a segment, as of an `impl`, stay.
fn without_generics(path: &str) -> String {
    let mut bare = String::with_capacity(path.len());
    let mut depth = 0;
    let mut before = ':';
    for character in path.chars() {
        match character {
            '<' if depth > 0 || before.is_alphanumeric() || before == '_' => depth += 1,
            // The arrow of a function's type closes nothing.
            '>' if depth > 0 && before != '-' => depth -= 1,
            _ if depth == 0 => bare.push(character),
            _ => {}
        }
        before = character;
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::{distance, unknown, without_generics};

    #[test]
    fn words_are_as_far_apart_as_their_letters() {
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
    fn a_name_that_no_function_has_is_said_with_those_that_there_are() {
        for (written, names, said) in [
            ("save", &[][..], ", nor any other"),
            ("sav", &["kit::save"], "; is it `kit::save`?"),
            (
                "kit::sav",
                &["kit::fetch", "kit::save", "kit::send"],
                "; is it `kit::save`? There are also: kit::send, kit::fetch",
            ),
            ("ad", &["kit::add"], "; is it `kit::add`?"),
            (
                "main",
                &["kit::fetch", "kit::save"],
                "; there are: kit::save, kit::fetch",
            ),
        ] {
            assert_eq!(
                unknown(written, names.iter().copied().collect()),
                format!(
                    "there is no background function or block `{written}` in this program{said}"
                )
            );
        }
    }

    #[test]
    fn of_many_functions_twenty_are_named() {
        const LETTERS: &str = "abcdefghijklmnopqrstuv";
        let names = |count: usize| (0..count).map(|at| &LETTERS[at..=at]).collect();
        let commas = |count: usize| unknown("wxyz", names(count)).matches(", ").count();
        assert_eq!((commas(20), commas(21), commas(22)), (19, 20, 20));
        assert!(unknown("wxyz", names(21)).ends_with(", t, …"));
    }

    #[test]
    fn a_function_is_found_whatever_its_types_are() {
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
