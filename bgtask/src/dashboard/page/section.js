// Reads the page again and again, and replaces the parts that have changed. All data comes from this server, which has escaped it; a
// part with the focus or a selection stays as it is, so that nobody loses a place.
"use strict";

(() => {
  /** The pause between two readings: fixed here, so that no address can change how often the server is asked. */
  const PAUSE = 2000;
  const byId = (id) => document.getElementById(id);
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

  function state(name, mark, text) {
    byId("state").dataset.state = name;
    byId("state-mark").textContent = mark;
    if (byId("state-text").textContent !== text) byId("state-text").textContent = text;
  }

  function isInUse(part) {
    const selection = getSelection();
    const isSelected = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    const isChecked = part.querySelector("input[type=checkbox]:checked");
    const isOpen = part.querySelector("details[open]");
    return isSelected || isChecked || isOpen || part.contains(document.activeElement);
  }

  let timer = 0;
  let last = new Date();

  async function read() {
    const begin = performance.now();
    try {
      const response = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (!response.ok) throw new Error(String(response.status));
      const next = new DOMParser().parseFromString(await response.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const other = next.getElementById(part.id);
        if (other && other.innerHTML !== part.innerHTML && !isInUse(part)) part.replaceWith(document.adoptNode(other));
      }
      last = new Date();
      state("live", "●", "Live");
    } catch {
      state("lost", "○", `No answer since ${clock.format(last)}; trying again`);
    }
    // A slow database is asked less often: at most a tenth of the time is spent on this page.
    schedule(Math.max(PAUSE, (performance.now() - begin) * 10));
  }

  function schedule(pause) {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(read, pause);
  }

  if (document.querySelector("[data-live]")) {
    // A hidden page reads nothing.
    document.addEventListener("visibilitychange", () => schedule(document.hidden ? PAUSE : 0));
    state("live", "●", "Live");
    schedule(PAUSE);
  } else {
    byId("state").hidden = true;
  }

  // One box selects all rows.
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-all]")) return;
    for (const box of event.target.form.querySelectorAll("input[name=job]")) box.checked = event.target.checked;
  });

  // The key "/" leads to the search.
  document.addEventListener("keydown", (event) => {
    const field = document.querySelector("input[type=search]");
    if (event.key !== "/" || !field || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, textarea, select")) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
})();
