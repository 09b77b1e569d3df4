// Three habits of the admin's pages, without a framework: they refresh themselves, their code can be copied, and what
// can be clicked can be reached by keyboard.
"use strict";

(() => {
    const QUICK_MS = 1000;
    const SLOW_MS = 10000;

    /** Polls the address in data-live and puts each fragment of its answer where data-live-fragment names it. */
    function follow(page) {
        const status = page.querySelector("[data-live-status]");
        const shown = new Map();
        let running = page.dataset.liveRunning === "1";
        let failures = 0;

        function say(text) {
            if (status && status.textContent !== text) status.textContent = text;
        }

        function show(fragments) {
            for (const [name, html] of Object.entries(fragments)) {
                // Only what changed is touched, so that an open <details> or a selection survives.
                if (shown.get(name) === html) continue;
                shown.set(name, html);
                const place = page.querySelector(`[data-live-fragment="${name}"]`);
                if (!place) continue;
                const open = [...place.querySelectorAll("details")].map((details) => details.open);
                const focused = place.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
                place.innerHTML = html; // rendered and escaped by Django
                place.querySelectorAll("details").forEach((details, index) => { details.open = open[index] ?? false; });
                if (focused) place.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
            }
        }

        async function look() {
            try {
                const answer = await fetch(page.dataset.live, { headers: { Accept: "application/json" }, credentials: "same-origin" });
                if (answer.redirected || answer.status === 403) { say("You are signed out: reload the page."); return; }
                if (!answer.ok) throw new Error(String(answer.status));
                const news = await answer.json();
                failures = 0;
                show(news.fragments);
                if (running && !news.running) { window.location.reload(); return; } // the buttons change with the state
                running = news.running;
                say(running ? "Updating live" : "");
            } catch {
                failures += 1;
                say("No connection; trying again");
            }
            window.setTimeout(next, running || failures ? Math.min(QUICK_MS * (1 + failures), SLOW_MS) : SLOW_MS);
        }

        function next() {
            if (document.visibilityState === "visible") look();
            else document.addEventListener("visibilitychange", next, { once: true });
        }

        if (running) say("Updating live");
        window.setTimeout(next, running ? QUICK_MS : SLOW_MS);
    }

    async function copy(button) {
        const text = button.closest("figure").querySelector("code").textContent;
        const label = button.querySelector("[data-copy-label]");
        try {
            await navigator.clipboard.writeText(text);
        } catch {
            // Without HTTPS there is no clipboard: select the text, so that one keystroke copies it.
            window.getSelection().selectAllChildren(button.closest("figure").querySelector("code"));
            label.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
            return;
        }
        label.textContent = "Copied";
        window.setTimeout(() => { label.textContent = "Copy"; }, 2000);
    }

    const NAMES = { dock_to_right: "Show or hide the sidebar", close: "Close", more_horiz: "More" };

    /** Unfold opens its filters and sidebar by elements that no keyboard reaches; makes buttons of them. */
    function makeReachable(element) {
        if (element.matches("a[href], button, input, select, textarea, summary")) return;
        element.tabIndex = 0;
        element.setAttribute("role", "button");
        const name = NAMES[element.textContent.trim()];
        if (name) element.setAttribute("aria-label", name);
        element.addEventListener("keydown", (event) => {
            if (event.target !== element || (event.key !== "Enter" && event.key !== " ")) return;
            event.preventDefault();
            element.click();
        });
    }

    document.addEventListener("click", (event) => {
        const button = event.target.closest("[data-copy]");
        if (button) copy(button);
    });

    document.addEventListener("DOMContentLoaded", () => {
        document.querySelectorAll("[data-live]").forEach(follow);
        document.querySelectorAll("[x-on\\:click]").forEach(makeReachable);
    });
})();
