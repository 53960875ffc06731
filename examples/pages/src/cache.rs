//! Rendered pages on disk, one file per page. A reader gets a complete entry, old or new.

use crate::documents::{Document, PageName, found};
use std::path::{Path, PathBuf};
use std::{io, process};
use tokio::fs;

/// Part of each entry. Increase it when pages are rendered differently, to discard the old entries.
const FORMAT: u32 = 1;

#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) html: String,
    pub(crate) is_fresh: bool,
}

impl Cache {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    pub(crate) async fn load(
        &self,
        page: &PageName,
        document: &Document,
    ) -> io::Result<Option<Entry>> {
        let Some(entry) = found(fs::read_to_string(self.path(page)).await)? else {
            return Ok(None);
        };
        let Some((heading, html)) = entry.split_once('\n') else {
            return Ok(None);
        };
        // An entry for a document of another folder is not stale, it is wrong.
        let is_of_document = heading.starts_with(&origin(document));
        Ok(is_of_document.then(|| Entry {
            html: html.to_owned(),
            is_fresh: heading == self::heading(document),
        }))
    }

    /// Replaces the entry of a page. The caller never stores two entries of one page at the same time.
    pub(crate) async fn store(
        &self,
        page: &PageName,
        document: &Document,
        html: &str,
    ) -> io::Result<()> {
        // Another process may share the folder.
        let temporary = self.folder.join(format!("{page}.{}.new", process::id()));
        fs::write(&temporary, format!("{}\n{html}", heading(document))).await?;
        fs::rename(temporary, self.path(page)).await
    }

    fn path(&self, page: &PageName) -> PathBuf {
        self.folder.join(format!("{page}.html"))
    }
}

/// Returns the first line of an entry: a comment that names the document and its version.
fn heading(document: &Document) -> String {
    format!("{}{} -->", origin(document), document.version)
}

fn origin(document: &Document) -> String {
    format!("<!-- pages {FORMAT}, {:?}, ", document.path)
}
