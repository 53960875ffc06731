mod as_a_value;
mod awaited;
mod coercions;
mod from_anywhere;
mod imported;
mod panics_name_the_caller;
mod statement;
