//! The trace of a call, continued in the run of its job: the context of the span that stores the call, as the program's propagator
//! encodes it. Must never know what a span says.

#[cfg(feature = "opentelemetry")]
mod opentelemetry {
    use ::opentelemetry::context::ContextGuard;
    use ::opentelemetry::global;
    use std::collections::HashMap;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    /// Returns the context of the current span, encoded. `None` without a span, or a propagator of the program's.
    pub(crate) fn current() -> Option<String> {
        let context = tracing::Span::current().context();
        let mut members = HashMap::new();
        global::get_text_map_propagator(|propagator| {
            propagator.inject_context(&context, &mut members);
        });
        if members.is_empty() {
            return None;
        }
        serde_json::to_string(&members).ok()
    }

    /// Makes spans continue this trace, as long as the guard lives.
    pub(crate) fn continue_from(trace: Option<&str>) -> Option<ContextGuard> {
        let members: HashMap<String, String> = serde_json::from_str(trace?).ok()?;
        let context = global::get_text_map_propagator(|propagator| propagator.extract(&members));
        Some(context.attach())
    }
}

#[cfg(feature = "opentelemetry")]
pub(crate) use opentelemetry::{continue_from, current};

#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn current() -> Option<String> {
    None
}

#[cfg(not(feature = "opentelemetry"))]
pub(crate) struct NotContinued;

#[cfg(not(feature = "opentelemetry"))]
pub(crate) fn continue_from(_: Option<&str>) -> NotContinued {
    NotContinued
}
