//! Functions with other names and with arguments: they become plain functions of that signature.
use bgtask::ShutdownToken;
use std::fmt::{Debug, Display};
use std::process::ExitCode;

enum Command {
    Serve { port: u16 },
    Stop,
}

pub(crate) struct Parts(u8, u8);

/// Returns its output, whatever its type. The token may stand anywhere.
#[bgtask::main(worker_threads = 1)]
async fn run(command: Command, shutdown: ShutdownToken, name: &str) -> String {
    assert!(!shutdown.is_cancelled());
    match command {
        Command::Serve { port } => format!("{name} serves {port}"),
        Command::Stop => format!("{name} stops"),
    }
}

#[bgtask::main(flavor = "current_thread")]
pub(crate) async fn patterns(
    mut count: u32,
    Parts(a, b): Parts,
    [c, ..]: [u8; 2],
    _: &str,
    patterns: u8,
    token: u8,
) -> u32 {
    count += 1;
    count + u32::from(a) + u32::from(b) + u32::from(c) + u32::from(patterns) + u32::from(token)
}

#[bgtask::main(flavor = "current_thread")]
async fn generic<T: Default + Debug, const N: usize>(
    values: [T; N],
    shown: impl Display,
) -> Result<String, T>
where
    T: Clone,
{
    tokio::task::yield_now().await;
    Ok(format!("{values:?} {shown} {:?}", T::default()))
}

#[bgtask::main(flavor = "current_thread")]
async fn only_generic<T: Default>() -> T {
    T::default()
}

#[bgtask::main(flavor = "current_thread")]
async fn borrowed<'a>(first: &'a str, second: &str) -> &'a str {
    let _ = second;
    first
}

#[bgtask::main(flavor = "current_thread")]
#[tracing::instrument]
async fn attributes(#[allow(unused_variables)] unused: u8) {}

#[bgtask::main(flavor = "current_thread")]
async fn only_a_token(shutdown: ShutdownToken) -> bool {
    shutdown.is_cancelled()
}

struct Server;

impl Server {
    #[bgtask::main(flavor = "current_thread")]
    async fn associated(port: u16) -> u16 {
        port
    }
}

fn calls() -> ExitCode {
    assert_eq!(
        run(Command::Serve { port: 80 }, &String::from("it")),
        "it serves 80"
    );
    assert_eq!(run(Command::Stop, "it"), "it stops");
    assert_eq!(patterns(1, Parts(2, 3), [4, 0], "", 5, 6), 22);
    assert_eq!(generic([1, 2], 'x'), Ok("[1, 2] x 0".to_owned()));
    assert_eq!(only_generic::<u8>(), 0);
    assert_eq!(borrowed("first", &String::from("second")), "first");
    attributes(1);
    assert!(!only_a_token());
    assert_eq!(Server::associated(1), 1);
    ExitCode::SUCCESS
}

#[test]
fn runs() {
    crate::in_a_process("main::function::runs", calls);
}
