//! Checks of the files of the repository: the order of the crate's modules, and the table of behaviours.

mod architecture;
mod behaviours;
mod imports;
