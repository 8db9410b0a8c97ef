"use strict";
// Keys: g and a letter opens a page, / goes to the search, j and k move in lists, x selects, ? shows all of them.
(() => {
  let isGoing = false;

  const rows = () => [...document.querySelectorAll("main tbody tr")].filter((row) => row.querySelector("a[href]"));

  // The row with the focus, by its link; so Enter opens it, and a screen reader names it.
  function move(by) {
    const all = rows();
    const here = all.findIndex((row) => row.contains(document.activeElement));
    const next = all[here < 0 ? (by > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, here + by))];
    if (!next) return;
    next.querySelector("a[href]").focus();
    next.scrollIntoView({ block: "nearest" });
  }

  function select() {
    const row = document.activeElement.closest("main tbody tr");
    const box = row && row.querySelector("input[type=checkbox]");
    if (box) box.click();
  }

  function open(id) {
    const dialog = document.getElementById(id);
    if (dialog && !dialog.open) dialog.showModal();
  }

  const acts = { j: () => move(1), k: () => move(-1), x: select, "?": () => open("keys") };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea, dialog")) return;
    const wasGoing = isGoing;
    isGoing = false;
    if (wasGoing) {
      const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); location.href = link.href; }
    } else if (event.key === "g") {
      isGoing = true;
    } else if (event.key === "/") {
      const field = document.querySelector("[data-search]");
      event.preventDefault();
      if (field) field.focus();
      else location.href = `${document.body.dataset.root}/jobs#search`;
    } else if (acts[event.key]) {
      event.preventDefault();
      acts[event.key]();
    }
  });

  for (const button of document.querySelectorAll("[data-opens]")) {
    button.hidden = !document.getElementById(button.dataset.opens);
    button.addEventListener("click", () => open(button.dataset.opens));
  }
  if (location.hash === "#search") document.querySelector("[data-search]")?.focus();
})();
