// Replaces the parts of the page that are marked `data-live` by those of the page as it is now: on the page of an order whenever its job
// has another state, and on the others all the time.
"use strict";

const away = document.getElementById("away");
const progress = document.querySelector("bgtask-progress[src]");

async function update() {
    try {
        const response = await fetch(location.href);
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const part of document.querySelectorAll("[data-live]")) {
            const now = page.getElementById(part.id);
            if (now && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
        }
        away.hidden = true;
        if (progress) return;
    } catch {
        away.hidden = false; // killed; it may be started again
    }
    setTimeout(update, 300);
}

if (progress) {
    progress.addEventListener("bgtask-event", update);
    // The stream broke, and the element connects again.
    const breaks = new MutationObserver(() => progress.hasAttribute("data-away") && update());
    breaks.observe(progress, { attributeFilter: ["data-away"] });
} else {
    update();
}

// Sends the request without leaving the page, because a killed shop answers with none.
document.querySelector("form[action='/kill']").addEventListener("submit", (event) => {
    event.preventDefault();
    fetch("/kill", { method: "POST" }).catch(update);
});
