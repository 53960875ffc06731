//! What a measurement hands to the page: text, plots and the goals it decides. Plain data.

/// One goal of the table.
pub(crate) struct Goal {
    pub(crate) what: &'static str,
    pub(crate) goal: &'static str,
    pub(crate) now: String,
    pub(crate) is_reached: bool,
}

/// One part of the page.
#[derive(Default)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    /// Markdown.
    pub(crate) text: String,
    /// The names of the files, without the extension, and their content.
    pub(crate) plots: Vec<(&'static str, String)>,
    pub(crate) goals: Vec<Goal>,
}

/// How much is measured.
pub(crate) struct Scale {
    /// The rounds of each row.
    pub(crate) rounds: usize,
    /// How long the churn lasts, in seconds.
    pub(crate) churn: u64,
    /// How long the table is left alone after it was bulk-loaded and vacuumed, in seconds.
    pub(crate) left: u64,
    /// How many jobs wait in the large table.
    pub(crate) waiting: u64,
}
