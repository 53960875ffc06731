mod instances;
mod keys;
mod names_like_ours;
mod no_implicit_prelude;
mod shadowed_prelude;
mod states;
