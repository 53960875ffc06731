//! A tiny shop whose receipts survive kill -9, before your eyes: `cargo run -p example-shop`.
//!
//! The program starts the shop as a process of its own, kills it with SIGKILL while it writes receipts, and starts it again. The
//! shop's code is all there is to a durable function: `durable` on `write_receipt`, and one `open` in `main`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::{env, fs, io};

mod shop {
    use bgtask::ShutdownToken;
    use bgtask::durable::{JobError, JobId};
    use serde::{Deserialize, Serialize};
    use std::env;
    use std::io;
    use std::path::PathBuf;
    use std::time::Duration;
    use tokio::fs;

    #[derive(Debug, Serialize, Deserialize)]
    struct Order {
        number: u32,
        item: String,
    }

    /// Writes the receipt of an order, which takes a second. It may run twice, so it writes a file whose name is the order's:
    /// the second run writes the same file again.
    #[bgtask::background(durable, retry(max = 5), timeout = "10s")]
    async fn write_receipt(order: Order) -> io::Result<PathBuf> {
        println!("  writing the receipt of order {} …", order.number);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let path = folder().join(format!("receipt-{}.txt", order.number));
        fs::write(
            &path,
            format!("Order {}: one {}. Thank you!\n", order.number, order.item),
        )
        .await?;
        println!("  receipt of order {} is there", order.number);
        Ok(path)
    }

    fn folder() -> PathBuf {
        env::var_os("SHOP_FOLDER")
            .unwrap_or_else(|| ".".into())
            .into()
    }

    #[bgtask::main]
    pub(super) async fn main(shutdown: ShutdownToken) -> Result<(), Box<dyn std::error::Error>> {
        let jobs = bgtask_durable::builder()
            .url(format!("sqlite://{}/shop.db", folder().display()))
            // Two at a time, so that there is something left to kill.
            .queue("default", 2)
            .open()
            .await?;
        if jobs.get::<PathBuf>(JobId::new(1)).status().await == Err(JobError::NotFound) {
            let items = ["kettle", "lamp", "chair", "rug", "clock", "vase"];
            for (number, item) in (1..).zip(items) {
                let item = item.to_owned();
                // Stored when it resolves. From here on the receipt comes, whatever happens to this process.
                let job = write_receipt(Order { number, item }).await?;
                println!("  order {number} is placed, job {}", job.id());
            }
        }
        // The ids could be anywhere: in a row beside the order, or in a page that polls.
        for id in 1..=6 {
            let job = jobs.get::<PathBuf>(JobId::new(id));
            tokio::select! {
                receipt = job.outcome() => { receipt?; }
                () = shutdown.cancelled() => return Ok(()),
            }
        }
        let mut crashes = 0;
        for id in 1..=6 {
            crashes += jobs.get::<PathBuf>(JobId::new(id)).status().await?.crashes;
        }
        println!("  all six receipts are there; {crashes} attempts died with the process");
        Ok(())
    }
}

fn main() -> ExitCode {
    if env::var_os("SHOP_FOLDER").is_some() {
        return shop::main();
    }
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the shop, kills it, starts it again.
fn show() -> io::Result<()> {
    let folder = env::temp_dir().join(format!("shop-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    println!("The shop opens, with its database in {}.", folder.display());
    let mut shop = start(&folder, Stdio::piped())?;
    let said = shop.stdout.take().map(BufReader::new);
    let mut begun = 0;
    for line in said.into_iter().flat_map(BufRead::lines) {
        let line = line?;
        println!("{line}");
        begun += usize::from(line.contains("writing the receipt"));
        if begun == 4 {
            break;
        }
    }
    shop.kill()?;
    shop.wait()?;
    let there = receipts(&folder)?;
    println!(
        "Killed with SIGKILL: {there} of 6 receipts are there, and {} were being written.",
        begun - there
    );
    println!(
        "The shop opens again, places no order, and takes over from the dead process after 4 s."
    );
    let status = start(&folder, Stdio::inherit())?.wait()?;
    let there = receipts(&folder)?;
    println!("{there} of 6 receipts are there.");
    fs::remove_dir_all(&folder)?;
    if status.success() && there == 6 {
        Ok(())
    } else {
        Err(io::Error::other("a receipt was lost"))
    }
}

fn start(folder: &Path, stdout: Stdio) -> io::Result<Child> {
    Command::new(env::current_exe()?)
        .env("SHOP_FOLDER", folder)
        .stdout(stdout)
        .spawn()
}

fn receipts(folder: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        count += usize::from(name.to_string_lossy().starts_with("receipt-"));
    }
    Ok(count)
}
