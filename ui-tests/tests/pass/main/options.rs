//! Every option.
#[bgtask::main(
    flavor = "multi_thread",
    worker_threads = 2,
    grace = "1m30s500ms",
    pre_stop = "5s",
    strict,
    warn_after = "30s",
    dump = "SIGUSR2",
    crate = "::bgtask"
)]
async fn main() {
    tokio::task::yield_now().await;
}

#[test]
fn runs() {
    crate::in_a_process("main::options::runs", main);
}
