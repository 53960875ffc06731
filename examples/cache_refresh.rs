//! Shows: a cache that is refreshed behind its readers, once for however many of them find it stale. `coalesce` with
//! `policy = "trailing"`: while a refresh runs, all calls with its key come to one more refresh after it.
//!
//!     cargo run -p bgtask-examples --bin cache_refresh
//!
//! You see sixty changes of two pages come to a handful of refreshes, and each page fresh at the end. It ends by itself.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{State, background};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// What the pages should show, and what the cache has of them.
#[derive(Clone, Default)]
struct Pages {
    source: Arc<Mutex<HashMap<String, u32>>>,
    cache: Arc<Mutex<HashMap<String, u32>>>,
}

impl Pages {
    fn change(&self, page: &str) {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        *source.entry(page.to_owned()).or_default() += 1;
    }

    fn read(&self, page: &str) -> u32 {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.get(page).copied().unwrap_or_default()
    }

    fn store(&self, page: &str, version: u32) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.insert(page.to_owned(), version);
    }
}

/// What a refresh reads may change right after; who changed it then has called for another one, and that is the one that
/// trails.
#[background(coalesce(key = page, policy = "trailing"))]
async fn refresh(State(pages): State<Pages>, page: String) -> io::Result<u32> {
    let version = pages.read(&page);
    // Where it would be rendered and written to disk.
    sleep(Duration::from_millis(100)).await;
    pages.store(&page, version);
    println!("{page} is refreshed, with change {version}");
    Ok(version)
}

#[bgtask::main]
async fn main() -> Result<(), bgtask::TaskError> {
    let pages = Pages::default();
    bgtask::provide(pages.clone());
    let mut last = None;
    for _ in 0..30 {
        for page in ["home", "about"] {
            pages.change(page);
            last = Some(refresh(page.to_owned()));
        }
        sleep(Duration::from_millis(10)).await;
    }
    // Whoever calls is told what came of the run that has seen their change, whosever run it is.
    if let Some(last) = last {
        println!("the last caller is told: {:?}", last.await?);
    }
    while bgtask::stats().running > 0 {
        tokio::task::yield_now().await;
    }
    let cache = pages.cache.lock().unwrap_or_else(PoisonError::into_inner);
    let stats = bgtask::stats();
    println!("cached: home {}, about {}", cache["home"], cache["about"]);
    println!(
        "60 calls: {} runs, {} came to one of those",
        stats.accepted, stats.coalesced
    );
    Ok(())
}
