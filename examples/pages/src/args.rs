//! The command line.

use lexopt::prelude::*;
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const HELP: &str = "\
Serves a folder of Markdown documents as web pages.

Usage: pages [OPTIONS] [FOLDER]

  FOLDER             Folder of documents (*.md). Default: the documents of this example
  --listen ADDRESS   Address to listen on; port 0 picks a free port. Default: 127.0.0.1:3000
  --cache DIR        Folder for rendered pages. Default: bgtask-pages in the temporary folder
  --access-log FILE  File that gets a line for each request. Default: bgtask-pages.log in the temporary folder
  --grace TIME       Time for the whole shutdown, such as 25s or 1m30s. Default: 25s
  --help             Print this text";

#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) documents: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) cache: PathBuf,
    pub(crate) access_log: PathBuf,
    pub(crate) grace: Duration,
}

/// Returns `None` if the user asks for help.
pub(crate) fn parse() -> Result<Option<Args>, lexopt::Error> {
    let mut args = Args {
        documents: Path::new(env!("CARGO_MANIFEST_DIR")).join("documents"),
        listen: (Ipv4Addr::LOCALHOST, 3000).into(),
        cache: env::temp_dir().join("bgtask-pages"),
        access_log: env::temp_dir().join("bgtask-pages.log"),
        grace: bgtask::DEFAULT_GRACE,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(folder) => args.documents = folder.into(),
            Long("listen") => args.listen = parser.value()?.parse()?,
            Long("cache") => args.cache = parser.value()?.into(),
            Long("access-log") => args.access_log = parser.value()?.into(),
            Long("grace") => {
                args.grace = parser.value()?.parse_with(humantime::parse_duration)?;
            }
            Long("help") => return Ok(None),
            _ => return Err(arg.unexpected()),
        }
    }
    Ok(Some(args))
}
