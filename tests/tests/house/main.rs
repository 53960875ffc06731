//! Checks of the repository's own files.

mod table;
