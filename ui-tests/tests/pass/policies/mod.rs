#[cfg(feature = "durable")]
mod durable;
mod instances;
mod keys;
mod methods;
mod names_like_ours;
mod no_implicit_prelude;
mod shadowed_prelude;
mod states;
