//! The values of calls that the option `fields` names: how they are recorded, read and displayed.
//! Plain data; must never know tasks, or where the values are shown.

mod record;

pub use record::{FieldValue, FieldWriter, record};

use std::fmt;
use std::sync::Arc;
use tracing::Span;
use tracing::field::{DisplayValue, Empty, Value, display};

/// The values of one call that the option `fields` of its function names.
///
/// The values are recorded at the call, before its arguments move into the task. Each is a text: at most 256 bytes of what the value
/// displays, with control characters escaped. A value whose `Display` or `Debug` panics is `<panicked>`. Without the option, a call
/// has no fields, and nothing of its arguments is recorded.
///
/// The `Display` is `url=https://example.com order.id=7`: values with spaces, quotes or `=` are in quotes.
///
/// # Examples
///
/// ```
/// use bgtask::background;
///
/// struct Order { id: u64 }
///
/// #[background(fields(url = %url, order.id = order.id, card = redact(card)))]
/// async fn deliver(url: String, order: Order, card: String) {
///     let _ = (url, order, card);
///     std::future::pending::<()>().await
/// }
///
/// # let runtime = tokio::runtime::Runtime::new()?;
/// # let manager = bgtask::Manager::builder().grace(std::time::Duration::ZERO).install_on(runtime.handle())?;
/// # runtime.block_on(async {
/// deliver("https://example.com".into(), Order { id: 7 }, "4929 1234".into());
/// let task = &bgtask::tasks()[0];
/// assert_eq!(task.fields.get("order.id"), Some("7"));
/// assert_eq!(task.fields.to_string(), r#"url=https://example.com order.id=7 card="… (9 bytes)""#);
/// # manager.shutdown("the example ends").await;
/// # });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Fields(Option<Arc<Recorded>>);

#[derive(Debug)]
struct Recorded {
    spec: &'static FieldSpec,
    /// In the order of the names.
    values: Box<[Recording]>,
}

/// The fields of one function, as generated code writes them.
#[derive(Debug)]
pub struct FieldSpec {
    pub names: &'static [&'static str],
    /// Opens the span of a task. Each function has a callsite of its own, because a span's fields are part of its callsite.
    pub span: fn(&SpanOf<'_>) -> Span,
}

/// One value.
#[derive(Debug)]
pub(crate) struct Recording {
    /// Escaped and truncated.
    text: Box<str>,
    kind: ValueKind,
}

/// The type of a value in a span.
#[derive(Clone, Copy, Debug)]
enum ValueKind {
    /// A `None`.
    Absent,
    Displayed,
    Text,
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
}

/// What the span of a task is made of.
pub struct SpanOf<'a> {
    pub name: &'static str,
    pub id: u64,
    values: &'a [&'a dyn Value],
}

impl fmt::Debug for SpanOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanOf").finish_non_exhaustive()
    }
}

impl<'a> SpanOf<'a> {
    /// Returns the value of the field with this index.
    #[must_use]
    pub fn value(&self, index: usize) -> &'a dyn Value {
        self.values.get(index).copied().unwrap_or(&Empty)
    }
}

/// Opens the span of a task. The user's fields stand behind our own.
#[cfg(not(feature = "opentelemetry"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __task_span {
    ($name:expr, $id:expr $(, $field:literal = $value:expr)*) => {
        $crate::__private::tracing::info_span!(target: "bgtask", "task", name = $name, id = $id,
            outcome = $crate::__private::tracing::field::Empty $(, $field = $value)*)
    };
}

/// Opens the span of a task, with the fields from which `tracing-opentelemetry` makes its name and its status.
#[cfg(feature = "opentelemetry")]
#[doc(hidden)]
#[macro_export]
macro_rules! __task_span {
    ($name:expr, $id:expr $(, $field:literal = $value:expr)*) => {
        $crate::__private::tracing::info_span!(target: "bgtask", "task", name = $name, id = $id,
            outcome = $crate::__private::tracing::field::Empty, otel.name = $name,
            otel.status_code = $crate::__private::tracing::field::Empty,
            otel.status_description = $crate::__private::tracing::field::Empty $(, $field = $value)*)
    };
}

#[doc(inline)]
pub use __task_span as new_span;

impl Fields {
    /// Returns whether the call has no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns the names and values, in the order of the attribute. A value that was `None` is left out.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().flat_map(|recorded| {
            let names = recorded.spec.names.iter().copied();
            let values = recorded.values.iter();
            names
                .zip(values)
                .filter(|(_, value)| !matches!(value.kind, ValueKind::Absent))
                .map(|(name, value)| (name, &*value.text))
        })
    }

    /// Returns the value of the field with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.iter();
        fields
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    }

    /// Opens the span of a task that has fields.
    pub(crate) fn open_span(&self, name: &'static str, id: u64) -> Option<Span> {
        let Recorded { spec, values } = &**self.0.as_ref()?;
        let displayed: Vec<_> = values.iter().map(|value| display(&*value.text)).collect();
        let values = values.iter().zip(&displayed);
        let values: Vec<&dyn Value> = values
            .map(|(value, displayed)| value.in_span(displayed))
            .collect();
        Some((spec.span)(&SpanOf {
            name,
            id,
            values: &values,
        }))
    }

    /// Returns the fields as they follow other text.
    pub(crate) fn behind_text(&self) -> Behind<'_> {
        Behind(self)
    }

    /// Returns the fields as the value of one field of an event, which is absent if there are none.
    pub(crate) fn in_event(&self) -> Option<DisplayValue<&Self>> {
        (!self.is_empty()).then(|| display(self))
    }
}

impl Recording {
    fn in_span<'a>(&'a self, displayed: &'a DisplayValue<&'a str>) -> &'a dyn Value {
        match &self.kind {
            ValueKind::Absent => &Empty,
            ValueKind::Displayed => displayed,
            ValueKind::Text => &self.text,
            ValueKind::Signed(number) => number,
            ValueKind::Unsigned(number) => number,
            ValueKind::Float(number) => number,
            ValueKind::Bool(value) => value,
        }
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            write!(f, "{space}{name}=")?;
            if value.is_empty() || value.contains([' ', '"', '=']) {
                write!(f, "\"{}\"", value.replace('"', "\\\""))?;
            } else {
                f.write_str(value)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

#[cfg(feature = "serde")]
impl serde::Serialize for Fields {
    /// Serializes the fields as a map of texts: `{"order.id": "7"}`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Displays the fields behind other text: with a space before them, or nothing if there are none.
pub(crate) struct Behind<'a>(&'a Fields);

impl fmt::Display for Behind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, " {}", self.0)
    }
}
