//! What compiles and what does not, and what the compiler says then: one file a case.
//!
//! `TRYBUILD=overwrite cargo test -p bgtask-ui-tests` writes the expected messages anew; read each before it is committed.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/pass/*.rs");
    cases.compile_fail("tests/fail/*.rs");
    // With the feature that they say is missing, two of these would say less.
    if cfg!(not(feature = "cron")) {
        cases.compile_fail("tests/fail/policies/*.rs");
    }
    if cfg!(feature = "cron") {
        cases.compile_fail("tests/fail/policies_cron/*.rs");
    }
}
