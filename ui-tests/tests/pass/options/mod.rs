mod crate_reexported;
mod crate_renamed;
mod log;
mod name;
mod no_name;
mod none;
mod on_shutdown;
mod several;
