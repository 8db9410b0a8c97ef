"use strict";
// Ages of times, questions before something is done, and keys. The pages work without it.
(() => {
  const steps = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  function age(moment) {
    const seconds = Math.round((Date.now() - moment) / 1000);
    const whole = Math.abs(seconds);
    const [size, unit] = steps.find(([each]) => whole >= each) || [1, "s"];
    const text = `${Math.floor(whole / size)} ${unit}`;
    return seconds < 0 ? `in ${text}` : `${text} ago`;
  }

  function tick() {
    for (const element of document.querySelectorAll("time[datetime]")) {
      const text = age(Date.parse(element.getAttribute("datetime")));
      if (element.textContent !== text) element.textContent = text;
    }
  }

  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.question;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  const keys = { o: "/", q: "/queues", j: "/jobs", x: "/dead", c: "/cron", w: "/workers", l: "/limits", d: "/doctor", s: "/settings" };
  let isGoing = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (isGoing && keys[event.key]) {
      location.href = document.body.dataset.root + keys[event.key];
    } else if (event.key === "/") {
      const field = document.querySelector("[data-search]");
      if (field) { event.preventDefault(); field.focus(); }
    }
    isGoing = event.key === "g";
  });

  document.addEventListener("htmx:sse:after:message", tick);
  document.addEventListener("htmx:after:swap", tick);
  setInterval(tick, 1000);
  tick();
})();
