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
    return lasts || narrow.matches || !element.closest("td, dd") ? text : `${clock(moment)} (${text})`;
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

  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.question;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  document.addEventListener("htmx:sse:after:message", tick);
  document.addEventListener("htmx:after:swap", tick);
  setInterval(tick, 1000);
  tick();
})();
