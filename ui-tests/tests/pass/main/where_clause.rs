//! A redundant `where` clause.
#[bgtask::main]
async fn main()
where
    u8: Copy,
{
}

#[test]
fn runs() {
    crate::in_a_process("main::where_clause::runs", main);
}
