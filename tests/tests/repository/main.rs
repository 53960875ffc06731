//! Checks of the files of the repository: the order of the crate's modules, the table of behaviours, and the links of the pages.

mod architecture;
mod behaviours;
mod imports;
mod links;
