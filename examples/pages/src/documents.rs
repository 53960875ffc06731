//! The folder of documents: lists them, and finds the document of a page. Nothing outside of the folder is reachable.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::fs;

/// The name of a page. It is safe as a part of a file name and in HTML: never a path, never hidden, no markup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PageName(String);

impl PageName {
    pub(crate) fn new(name: &str) -> Option<Self> {
        // File systems allow 255 bytes, and the extension needs some.
        const LONGEST: usize = 200;
        let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
        let fits = !name.is_empty()
            && name.len() <= LONGEST
            && !name.starts_with('.')
            && name.chars().all(is_allowed);
        fits.then(|| Self(name.to_owned()))
    }
}

impl fmt::Display for PageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document at the moment it was found.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) path: PathBuf,
    /// Changes with each edit of the document, except for an edit that keeps the length and falls into the same tick of the file
    /// system's clock as the edit before it.
    pub(crate) version: String,
}

#[derive(Debug)]
pub(crate) struct Documents {
    /// Without symbolic links, so that paths can be compared with it.
    root: PathBuf,
}

impl Documents {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let root = folder.canonicalize()?;
        Ok(Self { root })
    }

    /// Follows symbolic links within the folder, because Kubernetes mounts files as links. A link out of the folder is not a
    /// document.
    pub(crate) async fn find(&self, page: &PageName) -> io::Result<Option<Document>> {
        let Some(path) = found(fs::canonicalize(self.root.join(format!("{page}.md"))).await)?
        else {
            return Ok(None);
        };
        if !path.starts_with(&self.root) {
            return Ok(None);
        }
        let Some(metadata) =
            found(fs::metadata(&path).await)?.filter(|metadata| metadata.is_file())
        else {
            return Ok(None);
        };
        let modified = metadata.modified()?;
        let since = modified
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let version = format!(
            "{}.{:09}+{}",
            since.as_secs(),
            since.subsec_nanos(),
            metadata.len()
        );
        Ok(Some(Document { path, version }))
    }

    /// Returns the names of all pages, sorted.
    pub(crate) async fn list(&self) -> io::Result<Vec<PageName>> {
        let mut pages = Vec::new();
        let mut folder = fs::read_dir(&self.root).await?;
        while let Some(file) = folder.next_entry().await? {
            let path = file.path();
            if path.extension() != Some(OsStr::new("md")) {
                continue;
            }
            let page = path
                .file_stem()
                .and_then(OsStr::to_str)
                .and_then(PageName::new);
            if let Some(page) = page
                && self.find(&page).await?.is_some()
            {
                pages.push(page);
            }
        }
        pages.sort();
        Ok(pages)
    }
}

/// Returns `None` if the file does not exist.
pub(crate) fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
