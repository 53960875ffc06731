//! The pages: served from the cache immediately, refreshed in the background.

use crate::cache::Cache;
use crate::documents::{Documents, PageName};
use crate::render;
use anyhow::Context;
use bgtask::background;
use std::path::Path;
use std::sync::Arc;
use tokio::fs;

pub(crate) struct Site {
    documents: Documents,
    cache: Cache,
}

pub(crate) struct Page {
    pub(crate) html: String,
    pub(crate) from: Origin,
}

/// Where the HTML of a response comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// The cache; the document has not changed since.
    Fresh,
    /// The cache; the page is refreshed in the background.
    Stale,
    /// The document; the cache had no entry.
    Rendered,
}

pub(crate) fn open(documents: &Path, cache: &Path) -> anyhow::Result<Arc<Site>> {
    let documents = Documents::open(documents)
        .with_context(|| format!("cannot read the folder {}", documents.display()))?;
    let cache = Cache::open(cache)
        .with_context(|| format!("cannot create the folder {}", cache.display()))?;
    Ok(Arc::new(Site { documents, cache }))
}

impl Site {
    pub(crate) async fn index(&self) -> anyhow::Result<String> {
        Ok(render::index(self.documents.list().await?.iter()))
    }

    /// Returns `None` if there is no such page.
    pub(crate) async fn page(self: &Arc<Self>, name: &PageName) -> anyhow::Result<Option<Page>> {
        let Some(document) = self.documents.find(name).await? else {
            return Ok(None);
        };
        let Some(entry) = self.cache.load(name, &document).await? else {
            // The first visitor waits for the refresh. If the visitor disconnects, the refresh goes on and fills the cache.
            let html = Arc::clone(self).refresh(name.clone()).await??;
            return Ok(html.map(|html| Page {
                html,
                from: Origin::Rendered,
            }));
        };
        let from = if entry.is_fresh {
            Origin::Fresh
        } else {
            Arc::clone(self).refresh(name.clone());
            Origin::Stale
        };
        Ok(Some(Page {
            html: entry.html,
            from,
        }))
    }

    /// Updates the cache entry of a page. Returns `None` if the document is gone.
    ///
    /// While a refresh of a page runs, all further calls for that page share one more run after it, because the document may have
    /// changed since the run has read it. Rendering keeps a worker thread busy, so only one page is refreshed at a time.
    ///
    /// It takes no `ShutdownToken`: it needs milliseconds, and a shutdown waits for it.
    #[background(coalesce(key = name, policy = "trailing"), concurrency = 1)]
    async fn refresh(self: Arc<Self>, name: PageName) -> anyhow::Result<Option<String>> {
        let Some(document) = self.documents.find(&name).await? else {
            return Ok(None);
        };
        if let Some(entry) = self.cache.load(&name, &document).await?
            && entry.is_fresh
        {
            return Ok(Some(entry.html));
        }
        // Read after the version was noted: if the document changes in between, the entry is stale, not wrong.
        let markdown = fs::read_to_string(&document.path)
            .await
            .with_context(|| format!("cannot read {}", document.path.display()))?;
        let html = render::page(&name.to_string(), &markdown);
        self.cache
            .store(&name, &document, &html)
            .await
            .with_context(|| format!("cannot write the page {name} to the cache"))?;
        tracing::info!(page = %name, version = document.version, "page refreshed");
        Ok(Some(html))
    }
}
