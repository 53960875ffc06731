// Replaces the parts of the page that are marked `data-live` by those of the page as it is now.
"use strict";

const away = document.getElementById("away");

async function update() {
    try {
        const response = await fetch(location.href);
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const part of document.querySelectorAll("[data-live]")) {
            const now = page.getElementById(part.id);
            if (now && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
        }
        away.hidden = true;
    } catch {
        away.hidden = false; // killed; it may be started again
    }
    setTimeout(update, 300);
}

// Sends the request without leaving the page, because a killed shop answers with none.
document.querySelector("form[action='/kill']").addEventListener("submit", (event) => {
    event.preventDefault();
    fetch("/kill", { method: "POST" }).catch(() => { away.hidden = false; });
});

update();
