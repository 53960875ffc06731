//! The command line.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Serves a folder of Markdown documents as web pages.
#[derive(Debug, clap::Parser)]
#[command(name = "pages")]
pub(crate) struct Args {
    /// Folder of Markdown documents (*.md) [default: those that come with the example]
    #[arg(value_name = "FOLDER", value_parser = folder, default_value_os_t = own_documents(), hide_default_value = true)]
    pub(crate) documents: PathBuf,

    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub(crate) listen: SocketAddr,

    /// Folder for rendered pages; made if absent
    #[arg(long, value_name = "DIR", default_value_os_t = env::temp_dir().join("bgtask-pages"))]
    pub(crate) cache: PathBuf,

    /// File that gets a line for every request [default: none]
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,

    /// Time for the whole shutdown, such as 25s or 1m30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "25s")]
    pub(crate) grace: Duration,
}

fn own_documents() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "pages", "documents"]
        .iter()
        .collect()
}

fn folder(path: &str) -> Result<PathBuf, String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(path.into()),
        Ok(_) => Err("not a folder".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
