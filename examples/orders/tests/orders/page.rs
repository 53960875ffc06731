//! The page of the example in a browser: with its script, without it, on a phone and in the dark.
//! Leaves pictures in `target/orders`.

use crate::browser::{self, Browser, FAINT};
use crate::shop::Database;
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;

const PLACE: &str = "document.querySelector(\"form[action='/orders'] button\").click()";
const IS_ORDER: &str = "location.pathname.startsWith('/orders/')";
const HAS_PROGRESS: &str = "document.querySelector('progress').value > 0";
const HAS_RECEIPT: &str =
    "document.querySelector('#receipt pre').textContent.includes('Thank you!')";
const IS_AWAY: &str = "document.querySelector('#away').checkVisibility()";

/// Returns a browser, or `None` if there is none on this machine and none is required.
fn browser() -> Option<Browser> {
    if let Some(chromium) = browser::find() {
        return Some(Browser::start(&chromium));
    }
    let required = std::env::var_os("BGTASK_BROWSER").is_some();
    assert!(!required, "Chromium is required here, and not installed");
    // The test harness does not capture this, so that somebody sees it.
    let _ = io::stderr().write_all(
        b"\n*** SKIPPED: no Chromium found, so the page of `orders` was not tested in a browser. Install it (Debian: \
          `apt-get install chromium`), or set the variable CHROMIUM to its path. ***\n\n",
    );
    None
}

/// Keeps what the element dispatches from now on.
const KEEP_EVENTS: &str = "(() => {
  window.events = [];
  for (const name of ['bgtask-event', 'bgtask-end']) {
    document.addEventListener(name, ({ detail }) => window.events.push([name, detail.version, detail.state, detail.attempt]));
  }
})()";

/// The versions of the events, each greater than the one before it.
const ARE_ORDERED: &str = "(() => {
  const versions = window.events.filter(([name]) => name === 'bgtask-event').map((event) => event[1]);
  return versions.every((version, index) => index === 0 || version > versions[index - 1]);
})()";

#[test]
fn the_page_follows_an_order_through_a_reload_a_kill_and_a_restart() {
    let Some(browser) = &mut browser() else {
        return;
    };
    let database = Database::sqlite();
    let shop = database.shop();
    let (_, port) = shop.address.rsplit_once(':').unwrap();
    let port = port.to_owned();
    browser.resize(1280, 900, "light");
    browser.open(&format!("http://{}/", shop.address));
    browser.until(
        "the form is there",
        "document.querySelector('#item').value === 'Kettle'",
    );
    look(browser, "home");
    browser.evaluate(PLACE);
    browser.until("the order is shown", IS_ORDER);
    browser.until("progress appears", HAS_PROGRESS);

    // In the middle: the bar of the new page goes on where that of the old one was.
    let before = browser.evaluate("document.querySelector('progress').value");
    browser.call("Page.reload", json!({}));
    browser.until(
        "the page is there again",
        "document.readyState === 'complete' && !window.events",
    );
    browser.evaluate(KEEP_EVENTS);
    browser.evaluate("window.loaded = 'once'");
    browser.until(
        "the bar goes on",
        &format!("window.events.length > 1 && document.querySelector('progress').value > {before}"),
    );
    let bar = "document.querySelector('bgtask-progress')";
    assert_eq!(
        browser.evaluate(&format!(
            "[{bar}.role, {bar}.ariaLabel, {bar}.ariaValueMin, {bar}.ariaValueMax]"
        )),
        json!(["progressbar", "Progress of the receipt", "0", "100"])
    );
    browser.until(
        "the text of the bar is that of the step",
        &format!("/^[1-9][0-9]? %, rendering line [1-8] of 8$/.test({bar}.ariaValueText)"),
    );
    look(browser, "running");
    assert_eq!(browser.evaluate("window.violations"), json!([]));
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);

    // The button's request gets no answer. The page stays, and names the cure.
    browser.evaluate("document.querySelector(\"form[action='/kill'] button\").click()");
    shop.has_been_killed();
    browser.until("the end of the shop is shown", IS_AWAY);
    look(browser, "killed");
    browser.evaluate("window.beforeRestart = window.events.length");
    let _shop = database.shop_on(&port);
    // The stream connects again by itself. How much of the second attempt it then shows depends on how soon it does.
    browser.until(
        "the second attempt is shown after the restart",
        "window.events.slice(window.beforeRestart).some((event) => event[3] === 2)",
    );
    look(browser, "restarted");
    browser.until("the receipt is there", HAS_RECEIPT);
    browser.until(
        "the stream has ended",
        "window.events.at(-1)[0] === 'bgtask-end'",
    );
    assert_eq!(browser.evaluate(IS_AWAY), false);
    assert_eq!(
        browser.evaluate("window.loaded"),
        "once",
        "the page was reloaded"
    );
    assert_eq!(browser.evaluate(ARE_ORDERED), true);
    assert_eq!(
        browser.evaluate(&format!(
            "[{bar}.dataset.state, {bar}.ariaValueNow, {bar}.ariaValueText]"
        )),
        json!(["done", "100", "100 %, done"])
    );
    look(browser, "done");
}

#[test]
fn the_page_needs_no_javascript() {
    let Some(browser) = &mut browser() else {
        return;
    };
    let database = Database::sqlite();
    let shop = database.shop();
    browser.call(
        "Emulation.setScriptExecutionDisabled",
        json!({ "value": true }),
    );
    browser.open(&format!("http://{}/", shop.address));
    browser.until(
        "the form is there",
        "document.querySelector('#item').value === 'Kettle'",
    );
    browser.evaluate(PLACE);
    browser.until("progress appears", HAS_PROGRESS);
    browser.until("the receipt is there", HAS_RECEIPT);
}

/// Checks that the page fits its window and is legible, in both colour schemes, and takes its picture.
fn look(browser: &mut Browser, name: &str) {
    for (width, scheme) in [
        (1280, "light"),
        (1280, "dark"),
        (390, "light"),
        (390, "dark"),
    ] {
        browser.resize(width, 844, scheme);
        // After two frames, the page is drawn.
        browser.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))");
        let overflow = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
        assert_eq!(overflow, 0, "{name} scrolls sideways at {width}");
        let file = format!("../../target/orders/{name}-{width}-{scheme}.png");
        browser.photograph(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
        assert_eq!(browser.evaluate(FAINT), json!([]), "{name} {scheme}");
    }
}
