//! A background function called where nothing tracks it: with `#[tokio::main]`, or on no runtime at all.

#[bgtask::background]
async fn write_audit_line() {}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("tokio") {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async { drop(write_audit_line()) });
    } else {
        write_audit_line();
    }
}
