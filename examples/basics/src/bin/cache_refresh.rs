//! Shows: one cache refresh for many calls. With `coalesce` and `policy = "trailing"`, all calls that arrive while a refresh of
//! their page runs share one more refresh after it.
//!
//!     cargo run -p example-basics --bin cache_refresh
//!
//! You see sixty changes of two pages lead to a few refreshes, and each page is fresh at the end.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bgtask::{State, background};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// The current version of each page, and the version in the cache.
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

/// A page may change right after a refresh has read it. The call after that change leads to one more refresh.
#[background(coalesce(key = page, policy = "trailing"))]
async fn refresh(State(pages): State<Pages>, page: String) -> io::Result<u32> {
    let version = pages.read(&page);
    // Stands for rendering the page and writing it to disk.
    sleep(Duration::from_millis(100)).await;
    pages.store(&page, version);
    println!("refreshed {page} with change {version}");
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
    // Each call gets the outcome of a run that has seen its change.
    if let Some(last) = last {
        println!("outcome of the last call: {:?}", last.await?);
    }
    bgtask::idle().await;
    let cache = pages.cache.lock().unwrap_or_else(PoisonError::into_inner);
    let stats = bgtask::stats();
    println!("cached: home {}, about {}", cache["home"], cache["about"]);
    println!(
        "60 calls: {} runs, {} calls shared one of them",
        stats.accepted, stats.coalesced
    );
    Ok(())
}
