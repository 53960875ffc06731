//! Rendered pages on disk, a file each. A reader sees a whole entry, the old one or the new one, and never a part.

use crate::documents::{Document, PageName, found};
use std::io;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;
use tokio::fs;

/// Stands in every entry: raised when pages are rendered in another way, so that old entries do not count.
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
        // An entry of another folder's document is not stale, it is wrong.
        let is_of_document = heading.starts_with(&origin(document));
        Ok(is_of_document.then(|| Entry {
            html: html.to_owned(),
            is_fresh: heading == self::heading(document),
        }))
    }

    pub(crate) async fn store(
        &self,
        page: &PageName,
        document: &Document,
        html: &str,
    ) -> io::Result<()> {
        // Removed when it is dropped before it has been renamed, for whatever reason.
        let temporary = NamedTempFile::new_in(&self.folder)?.into_temp_path();
        fs::write(&temporary, format!("{}\n{html}", heading(document))).await?;
        temporary.persist(self.path(page))?;
        Ok(())
    }

    fn path(&self, page: &PageName) -> PathBuf {
        self.folder.join(format!("{page}.html"))
    }
}

/// The first line of an entry: a comment that says what it was made of.
fn heading(document: &Document) -> String {
    format!("{}{} -->", origin(document), document.version)
}

fn origin(document: &Document) -> String {
    format!("<!-- pages {FORMAT}, {:?}, ", document.path)
}
