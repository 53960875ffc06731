mod cfg;
mod deprecated;
mod doc;
mod instrument;
mod lint_levels;
mod must_use;
mod of_the_call;
mod other_macros;
