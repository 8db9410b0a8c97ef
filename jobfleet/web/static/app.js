"use strict";
// Ages of times, and questions before something is done. The pages work without it.
(() => {
  const steps = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  function age(moment, lasts) {
    const seconds = Math.round((Date.now() - moment) / 1000);
    const whole = Math.abs(seconds);
    const [size, unit] = steps.find(([each]) => whole >= each) || [1, "s"];
    const text = `${Math.floor(whole / size)} ${unit}`;
    if (lasts) return text;
    return seconds < 0 ? `in ${text}` : `${text} ago`;
  }

  const narrow = window.matchMedia("(max-width: 640px)");
  const two = (number) => String(number).padStart(2, "0");

  // The time of day in the zone of the viewer, with the date if that is another day.
  function clock(moment) {
    const here = new Date(moment);
    const time = `${two(here.getHours())}:${two(here.getMinutes())}:${two(here.getSeconds())}`;
    if (here.toDateString() === new Date().toDateString()) return time;
    return `${here.getFullYear()}-${two(here.getMonth() + 1)}-${two(here.getDate())} ${time.slice(0, 5)}`;
  }

  // A table shows the time of day and the age; a narrow one, a duration and a sentence show the age.
  function shown(element, moment) {
    const lasts = "lasts" in element.dataset;
    const text = age(moment, lasts);
    return lasts || narrow.matches || !element.closest("td, dd") ? text : `${clock(moment)}\n(${text})`;
  }

  function tick() {
    for (const element of document.querySelectorAll("time[datetime]")) {
      const moment = Date.parse(element.getAttribute("datetime"));
      const text = shown(element, moment);
      if (element.textContent !== text) element.textContent = text;
      const exact = element.dataset.exact || (element.dataset.exact = element.title);
      const title = `${new Date(moment).toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" })}\n${exact}`;
      if (element.title !== title) element.title = title;
    }
  }

  // A form may ask for a line of text first, such as the reason of a pause.
  function asked(form) {
    const name = form.dataset.asks;
    if (!name) return true;
    const text = window.prompt(`${form.querySelector("button").textContent}: for what ${name}? It is kept and shown.`, "");
    if (text === null) return false;
    const field = form.querySelector(`input[name="${name}"]`) || form.appendChild(document.createElement("input"));
    Object.assign(field, { type: "hidden", name, value: text.trim() });
    return true;
  }

  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.question;
    if ((question && !window.confirm(question)) || !asked(event.target)) event.preventDefault();
  });

  // How many rows of a list are selected; without any, the actions are for all that match.
  function count() {
    const place = document.querySelector("[data-chosen]");
    if (!place) return;
    const boxes = [...document.querySelectorAll('input[name="ids"][form="bulk"]')];
    const chosen = boxes.filter((box) => box.checked).length;
    const text = chosen ? `${chosen} selected` : "All that match the filters";
    if (place.textContent !== text) place.textContent = text;
    const all = document.querySelector("[data-all]");
    if (all) Object.assign(all, { checked: chosen > 0 && chosen === boxes.length, indeterminate: chosen > 0 && chosen < boxes.length });
  }

  document.addEventListener("change", (event) => {
    if ("all" in event.target.dataset) {
      for (const box of document.querySelectorAll('input[name="ids"][form="bulk"]')) box.checked = event.target.checked;
    }
    count();
  });

  // The menu: on a phone a button opens it, and what is less used is behind "More".
  const menu = document.querySelector("nav[aria-label=Pages]");
  const opener = document.querySelector("[data-menu]");
  if (menu && opener) {
    menu.dataset.folds = "";
    opener.hidden = false;
    opener.addEventListener("click", () => {
      const isOpen = menu.classList.toggle("open");
      opener.setAttribute("aria-expanded", String(isOpen));
    });
    document.addEventListener("click", (event) => {
      const more = menu.querySelector("details[open]");
      if (more && !more.contains(event.target)) more.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      const more = menu.querySelector("details[open]");
      if (event.key !== "Escape" || !more) return;
      more.open = false;
      more.querySelector("summary").focus();
    });
  }

  for (const name of ["htmx:sse:after:message", "htmx:after:swap"]) {
    document.addEventListener(name, tick);
    document.addEventListener(name, count);
  }
  window.addEventListener("pageshow", count);
  setInterval(tick, 1000);
  tick();
  count();
})();
