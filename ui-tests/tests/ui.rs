//! What does not compile, and what the compiler says then: one file a case.
//!
//! `TRYBUILD=overwrite cargo test -p bgtask-ui-tests` writes the expected messages anew; read each before it is committed.

#[test]
fn fail() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/fail/*/*.rs");
}
