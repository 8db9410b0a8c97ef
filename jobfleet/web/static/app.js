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

  function tick() {
    for (const element of document.querySelectorAll("time[datetime]")) {
      const text = age(Date.parse(element.getAttribute("datetime")), "lasts" in element.dataset);
      if (element.textContent !== text) element.textContent = text;
    }
  }

  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.question;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  document.addEventListener("htmx:sse:after:message", tick);
  document.addEventListener("htmx:after:swap", tick);
  setInterval(tick, 1000);
  tick();
})();
