"use strict";
// Filters that are saved, and columns that are hidden: both are kept in the browser. The page works without it.
(() => {
  const bar = document.getElementById("saved");
  if (!bar) return;
  const chosen = bar.querySelector("[data-saved]");
  const columns = bar.querySelector("[data-columns]");
  const PASSING = ["cursor", "note", "mark"];

  function load(name, otherwise) {
    try {
      return JSON.parse(localStorage.getItem(`jobfleet:${name}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  }

  function keep(name, value) {
    try {
      localStorage.setItem(`jobfleet:${name}`, JSON.stringify(value));
    } catch { /* The browser keeps nothing for this page. */ }
  }

  function query() {
    const given = new URLSearchParams(location.search);
    for (const name of [...given.keys()]) if (PASSING.includes(name) || !given.get(name)) given.delete(name);
    return String(given);
  }

  function show() {
    const saved = load("filters", {});
    const options = Object.keys(saved).sort().map((name) => new Option(name, name, false, saved[name] === query()));
    chosen.replaceChildren(new Option("–", ""), ...options);
    bar.querySelector("[data-forget]").hidden = !chosen.value;
    bar.querySelector("[data-save]").hidden = !query();
  }

  chosen.addEventListener("change", () => {
    location.href = `${bar.dataset.path}?${load("filters", {})[chosen.value] || ""}`;
  });
  bar.querySelector("[data-save]").addEventListener("click", () => {
    const name = (window.prompt("A name for these filters:", "") || "").trim();
    if (name) keep("filters", { ...load("filters", {}), [name]: query() });
    show();
  });
  bar.querySelector("[data-forget]").addEventListener("click", () => {
    const { [chosen.value]: _gone, ...others } = load("filters", {});
    keep("filters", others);
    show();
  });

  // A hidden column is hidden by a rule for its place: live updates replace the rows, and not the rule.
  const rules = new CSSStyleSheet();
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, rules];

  const heads = () => [...document.querySelectorAll("#live thead th")];

  function hide() {
    const hidden = load("columns", []);
    const places = heads().map((head, at) => (hidden.includes(head.textContent.trim()) ? at + 1 : 0)).filter(Boolean);
    const text = places.map((at) => `#live tr > :nth-child(${at}) { display: none; }`).join("\n");
    if (rules.text !== text) {
      rules.text = text;
      rules.replaceSync(text);
    }
  }

  function offer() {
    const hidden = load("columns", []);
    const names = heads().map((head) => head.textContent.trim()).filter((name) => name && name !== "Job");
    if (names.join() === columns.dataset.names) return;
    columns.dataset.names = names.join();
    columns.replaceChildren(...names.map((name) => {
      const label = document.createElement("label");
      label.className = "check";
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.includes(name), value: name });
      label.append(box, ` ${name}`);
      return label;
    }));
  }

  columns.addEventListener("change", (event) => {
    const others = load("columns", []).filter((name) => name !== event.target.value);
    keep("columns", event.target.checked ? others : [...others, event.target.value]);
    hide();
  });

  function again() {
    offer();
    hide();
  }

  document.addEventListener("htmx:sse:after:message", again);
  bar.hidden = false;
  show();
  again();
})();
