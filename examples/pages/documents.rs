//! The folder of documents: which there are, and where a page's document is. Nothing outside of the folder is reachable.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::fs;

/// The name of a page, fit to stand in a file name: never a path, never hidden.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PageName(String);

impl PageName {
    pub(crate) fn new(name: &str) -> Option<Self> {
        // With an extension it has to stay within the 255 bytes that file systems allow.
        const LONGEST: usize = 200;
        let is_fit = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
        let fits = !name.is_empty()
            && name.len() <= LONGEST
            && !name.starts_with('.')
            && name.chars().all(is_fit);
        fits.then(|| Self(name.to_owned()))
    }
}

impl fmt::Display for PageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A document as it was found.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) path: PathBuf,
    /// Changes whenever the document does, unless an edit keeps the length and falls into the same tick of the file
    /// system's clock as the one before.
    pub(crate) version: String,
}

#[derive(Debug)]
pub(crate) struct Documents {
    /// Without symbolic links, so that it can be compared with.
    root: PathBuf,
}

impl Documents {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let root = folder.canonicalize()?;
        Ok(Self { root })
    }

    /// A symbolic link is followed within the folder (Kubernetes mounts its files as such); one that leads out of it is no
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

    /// The names of all pages, sorted.
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

/// `None` for what is not there.
pub(crate) fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
