//! The recording of values: their text, escaped and truncated, and their type.
//! Runs the user's code that displays them; must never lose a call because of it.

use super::{FieldSpec, Fields, Recorded, Recording, ValueKind};
use crate::util::panic::catch;
use crate::util::text::Truncated;
use std::borrow::Cow;
use std::fmt::{self, Debug, Display, Write};
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroIsize, NonZeroU8, NonZeroU16, NonZeroU32,
    NonZeroU64, NonZeroUsize,
};
use std::rc::Rc;
use std::sync::Arc;

/// How many bytes of a value are kept.
const LIMIT: usize = 256;

/// Records the values of one call, each with the closure that generated code has for it.
pub fn record(spec: &'static Option<FieldSpec>, each: &[&dyn Fn(&mut FieldWriter)]) -> Fields {
    let Some(spec) = spec else {
        return Fields::default();
    };
    let values = each.iter().map(|write| {
        let mut writer = FieldWriter::default();
        match catch(|| write(&mut writer)) {
            Ok(()) => writer.0,
            Err(_) => Recording::note("<panicked>"),
        }
    });
    Fields(Some(Arc::new(Recorded {
        spec,
        values: values.collect(),
    })))
}

/// Receives one value.
#[derive(Debug, Default)]
pub struct FieldWriter(Recording);

impl FieldWriter {
    /// Records what `Display` writes: `name = %value`.
    pub fn display<T: Display + ?Sized>(&mut self, value: &T) {
        self.write(ValueKind::Displayed, LIMIT, format_args!("{value}"));
    }

    /// Records what `Debug` writes: `name = ?value`.
    pub fn debug<T: Debug + ?Sized>(&mut self, value: &T) {
        self.write(ValueKind::Displayed, LIMIT, format_args!("{value:?}"));
    }

    /// Records a plain value: `name = value`.
    pub fn value<T: FieldValue + ?Sized>(&mut self, value: &T) {
        value.record(self);
    }

    /// Records only the length of what `Display` writes: `name = redact(value)`.
    pub fn redact<T: Display + ?Sized>(&mut self, value: &T) {
        self.write(ValueKind::Displayed, 0, format_args!("{value}"));
        if self.0.text.is_empty() {
            self.0.text = "… (0 bytes)".into();
        }
    }

    fn write(&mut self, kind: ValueKind, limit: usize, value: fmt::Arguments<'_>) {
        let mut text = String::new();
        self.0 = match write!(text, "{}", Truncated(value, limit)) {
            Ok(()) => Recording {
                text: text.into(),
                kind,
            },
            Err(fmt::Error) => Recording::note("<failed>"),
        };
    }
}

impl Recording {
    /// Returns a value that could not be displayed.
    fn note(text: &str) -> Self {
        Self {
            text: text.into(),
            kind: ValueKind::Displayed,
        }
    }
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            text: Box::default(),
            kind: ValueKind::Absent,
        }
    }
}

/// A value that the option `fields` records by itself: a number, a `bool`, a text, or an `Option` or a reference to one. `None` is not
/// recorded.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a plain value that `fields` can record by itself",
    label = "neither a number, a `bool` nor a text",
    note = "write `%` before the value to record its `Display`, or `?` to record its `Debug`"
)]
pub trait FieldValue {
    #[doc(hidden)]
    fn record(&self, writer: &mut FieldWriter);
}

macro_rules! numbers {
    ($($kind:ident as $as:ty: $($number:ty)*;)*) => {$($(
        impl FieldValue for $number {
            fn record(&self, writer: &mut FieldWriter) {
                #[allow(clippy::cast_lossless, trivial_numeric_casts, reason = "some of the types need a cast")]
                writer.write(ValueKind::$kind(*self as $as), LIMIT, format_args!("{self}"));
            }
        }
    )*)*};
}
numbers! {
    Signed as i64: i8 i16 i32 i64 isize;
    Unsigned as u64: u8 u16 u32 u64 usize;
    Float as f64: f32 f64;
}

macro_rules! displayed {
    ($($kind:ident: $($value:ty)*;)*) => {$($(
        impl FieldValue for $value {
            fn record(&self, writer: &mut FieldWriter) {
                writer.write(ValueKind::$kind, LIMIT, format_args!("{self}"));
            }
        }
    )*)*};
}
displayed! {
    Displayed: i128 u128;
    Text: str String char Cow<'_, str>;
}

macro_rules! non_zero {
    ($($number:ty)*) => {$(
        impl FieldValue for $number {
            fn record(&self, writer: &mut FieldWriter) {
                self.get().record(writer);
            }
        }
    )*};
}
non_zero! {
    NonZeroI8 NonZeroI16 NonZeroI32 NonZeroI64 NonZeroIsize
    NonZeroU8 NonZeroU16 NonZeroU32 NonZeroU64 NonZeroUsize
}

impl FieldValue for bool {
    fn record(&self, writer: &mut FieldWriter) {
        writer.write(ValueKind::Bool(*self), LIMIT, format_args!("{self}"));
    }
}

impl<T: FieldValue> FieldValue for Option<T> {
    fn record(&self, writer: &mut FieldWriter) {
        if let Some(value) = self {
            value.record(writer);
        }
    }
}

macro_rules! pointers {
    ($($pointer:ty)*) => {$(
        impl<T: FieldValue + ?Sized> FieldValue for $pointer {
            fn record(&self, writer: &mut FieldWriter) {
                (**self).record(writer);
            }
        }
    )*};
}
pointers! { &T &mut T Box<T> Arc<T> Rc<T> }

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Span;

    static SPEC: Option<FieldSpec> = Some(FieldSpec {
        names: &["first", "second"],
        span: |_| Span::none(),
    });

    fn recorded(write: &dyn Fn(&mut FieldWriter)) -> Option<String> {
        let fields = record(&SPEC, &[&write]);
        fields.get("first").map(str::to_owned)
    }

    struct Fails;

    impl Display for Fails {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }

    #[test]
    fn values_are_escaped_and_cut_between_characters() {
        let long = "é".repeat(200);
        let cut = format!("{}… (400 bytes)", "é".repeat(128));
        assert_eq!(recorded(&|to| to.display(&long)), Some(cut.clone()));
        assert_eq!(recorded(&|to| to.value(&long)), Some(cut));
        assert_eq!(
            recorded(&|to| to.display("a\n\u{1b}")),
            Some(r"a\n\u{1b}".to_owned())
        );
        assert_eq!(recorded(&|to| to.debug("a\n")), Some(r#""a\n""#.to_owned()));
    }

    #[test]
    fn a_redacted_value_has_only_its_length() {
        for (value, length) in [("", 0), ("4929", 4), ("é", 2)] {
            let shown = format!("… ({length} bytes)");
            assert_eq!(recorded(&|to| to.redact(value)), Some(shown));
        }
    }

    #[test]
    fn plain_values_are_numbers_texts_and_options_of_them() {
        let shared: Arc<str> = "text".into();
        type Write<'w> = &'w dyn Fn(&mut FieldWriter);
        let each: &[(Write<'_>, Option<&str>)] = &[
            (&|to| to.value(&-7_i8), Some("-7")),
            (&|to| to.value(&u64::MAX), Some("18446744073709551615")),
            (
                &|to| to.value(&u128::MAX),
                Some("340282366920938463463374607431768211455"),
            ),
            (&|to| to.value(&0.5_f32), Some("0.5")),
            (&|to| to.value(&true), Some("true")),
            (&|to| to.value(&Some(&shared)), Some("text")),
            (&|to| to.value(&None::<u8>), None),
        ];
        for (write, expected) in each {
            assert_eq!(recorded(write).as_deref(), *expected);
        }
    }

    #[test]
    fn code_that_fails_or_panics_leaves_a_note() {
        assert_eq!(
            recorded(&|to| to.display(&Fails)).as_deref(),
            Some("<failed>")
        );
        assert_eq!(
            recorded(&|_| panic!("on purpose")).as_deref(),
            Some("<panicked>")
        );
    }

    #[test]
    fn fields_display_as_pairs_with_quotes_where_they_are_needed() {
        let fields = record(&SPEC, &[&|to| to.value("a \"b\""), &|to| to.value(&1)]);
        assert_eq!(fields.to_string(), r#"first="a \"b\"" second=1"#);
        assert_eq!(
            format!("{fields:?}"),
            r#"{"first": "a \"b\"", "second": "1"}"#
        );
        let none = Fields::default();
        assert!(none.is_empty() && none.to_string().is_empty());
    }
}
