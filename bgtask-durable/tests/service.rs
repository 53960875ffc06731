//! A worker under a service manager, such as systemd with `Type=notify`: this binary again, whose ignored test `program` is the worker.
#![cfg(all(target_os = "linux", feature = "sqlite"))]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use support::Scratch;
use support::store::LIMIT;

/// A worker needs a function to work.
#[bgtask::background(durable)]
#[expect(dead_code, reason = "nobody calls it")]
async fn job() {}

mod worker {
    #[bgtask::main]
    pub(super) async fn main() -> Result<(), bgtask_durable::OpenError> {
        bgtask_durable::work().await
    }
}

#[test]
#[ignore = "the other test starts it as a program of its own"]
fn program() {
    if std::env::var_os("BGTASK_TEST_MAIN").is_some() {
        let _ = worker::main();
    }
}

fn received(receiver: &UnixDatagram) -> String {
    let mut bytes = [0; 64];
    let length = receiver.recv(&mut bytes).expect("it comes");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// systemd reads the units of docs/deploy without a complaint.
#[test]
fn the_units_are_valid() {
    let units = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploy/systemd");
    let folder = std::env::temp_dir().join(format!("bgtask-units-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut command = Command::new("systemd-analyze");
    command.arg("verify");
    for name in ["shop.service", "shop-worker@.service"] {
        let unit = std::fs::read_to_string(format!("{units}/{name}")).expect("a unit");
        // The program and its settings are not on this machine.
        let unit = unit
            .replace("/usr/local/bin/shop", "/bin/true")
            .replace("EnvironmentFile=/", "EnvironmentFile=-/");
        std::fs::write(folder.join(name), unit).expect("a file");
        command.arg(folder.join(name));
    }
    let verified = command.output();
    std::fs::remove_dir_all(&folder).expect("it is there");
    match verified {
        Ok(output) => {
            let complaints = String::from_utf8_lossy(&output.stderr);
            // It also complains of units of the machine, which are not ours.
            let of_ours: Vec<_> = complaints
                .lines()
                .filter(|line| line.contains("shop"))
                .collect();
            assert_eq!(of_ours, Vec::<&str>::new());
        }
        #[expect(clippy::print_stdout, reason = "whoever runs the tests is to know")]
        Err(error) => println!("no systemd-analyze ({error}), so this run is partial"),
    }
}

#[test]
fn a_worker_notifies_that_its_store_is_open_and_that_it_stops() {
    let scratch = Scratch::sqlite();
    let file = scratch.url().strip_prefix("sqlite://").expect("a file");
    let socket = std::path::Path::new(file).with_file_name("notify");
    let receiver = UnixDatagram::bind(&socket).expect("a socket");
    receiver.set_read_timeout(Some(LIMIT)).expect("a limit");
    let mut worker = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "program", "--ignored", "--nocapture"])
        .env("BGTASK_TEST_MAIN", "work")
        .env("BGTASK_DATABASE_URL", scratch.url())
        .env("NOTIFY_SOCKET", &socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    assert_eq!(received(&receiver), "READY=1");
    assert!(std::path::Path::new(file).exists(), "its store is open");
    let id = Pid::from_raw(worker.id().try_into().expect("a process id"));
    kill(id, Signal::SIGTERM).expect("it runs");
    assert_eq!(received(&receiver), "STOPPING=1");
    assert!(worker.wait().expect("it ends").success());
}
