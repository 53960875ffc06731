//! The pages: answered from the cache at once, refreshed behind the answer.

use crate::cache::Cache;
use crate::documents::{Documents, PageName};
use crate::render;
use anyhow::Context;
use bgtask::background;
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::fs;

pub(crate) struct Site {
    documents: Documents,
    cache: Cache,
    /// Pages with a refresh that has been called and has yet to look at the document: another one would be in vain.
    waiting: Mutex<HashSet<PageName>>,
    /// One refresh at a time, so that none overwrites the work of a later one.
    turn: tokio::sync::Mutex<()>,
}

pub(crate) struct Page {
    pub(crate) html: String,
    pub(crate) from: Origin,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// The cache, and the document has not changed since.
    Fresh,
    /// The cache; a refresh has been called.
    Stale,
    /// The document: there was nothing in the cache.
    Rendered,
}

pub(crate) fn open(documents: &Path, cache: &Path) -> anyhow::Result<Arc<Site>> {
    let documents = Documents::open(documents)
        .with_context(|| format!("cannot read the folder {}", documents.display()))?;
    let cache = Cache::open(cache)
        .with_context(|| format!("cannot make the folder {}", cache.display()))?;
    Ok(Arc::new(Site {
        documents,
        cache,
        waiting: Mutex::default(),
        turn: tokio::sync::Mutex::default(),
    }))
}

impl Site {
    pub(crate) async fn index(&self) -> anyhow::Result<String> {
        let names = self.documents.list().await?;
        Ok(render::index(names.iter().map(PageName::to_string)))
    }

    /// `None` if there is no such page.
    pub(crate) async fn page(self: &Arc<Self>, name: &PageName) -> anyhow::Result<Option<Page>> {
        let Some(document) = self.documents.find(name).await? else {
            return Ok(None);
        };
        let Some(entry) = self.cache.load(name, &document).await? else {
            // The first visitor waits for the task that the others leave behind. If they go away before it has ended, the
            // page is in the cache all the same.
            let html = Arc::clone(self).refresh(name.clone()).await??;
            return Ok(html.map(|html| Page {
                html,
                from: Origin::Rendered,
            }));
        };
        if entry.is_fresh {
            return Ok(Some(Page {
                html: entry.html,
                from: Origin::Fresh,
            }));
        }
        let is_first = self.waiting().insert(name.clone());
        if is_first {
            Arc::clone(self).refresh(name.clone());
        }
        Ok(Some(Page {
            html: entry.html,
            from: Origin::Stale,
        }))
    }

    /// Brings the cache up to date with the document. `None` if that is gone.
    ///
    /// It takes no `ShutdownToken`: it is done in milliseconds, and a shutdown waits for it.
    #[background]
    async fn refresh(self: Arc<Self>, name: PageName) -> anyhow::Result<Option<String>> {
        let _turn = self.turn.lock().await;
        // Before the document is looked at: whoever finds it changed from here on has to call again.
        self.waiting().remove(&name);
        let Some(document) = self.documents.find(&name).await? else {
            return Ok(None);
        };
        if let Some(entry) = self.cache.load(&name, &document).await?
            && entry.is_fresh
        {
            return Ok(Some(entry.html));
        }
        // After the version was noted down: should the document change in between, the entry will be found stale.
        let markdown = fs::read_to_string(&document.path)
            .await
            .with_context(|| format!("cannot read {}", document.path.display()))?;
        let html = render::page(&name.to_string(), &markdown);
        self.cache
            .store(&name, &document, &html)
            .await
            .with_context(|| format!("cannot write the page {name} to the cache"))?;
        tracing::info!(page = %name, version = document.version, "refreshed");
        Ok(Some(html))
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<PageName>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
