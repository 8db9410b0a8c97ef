"use strict";
// Says on the page when it is not live, and loads a page again that Redis could not serve.
(() => {
  const EVERY = 3000;
  const live = document.getElementById("live");
  const notice = document.getElementById("stale");
  const failed = document.querySelector("[data-again]");
  let said = "";
  let since = "";
  // Why the dashboard cannot read, and why there is no connection to the dashboard.
  let problem = "";
  let cut = "";
  let isOut = false;

  function show() {
    const text = cut || problem;
    if (text === said) return;
    said = text;
    since = text && (since || new Date().toTimeString().slice(0, 8));
    notice.hidden = !text;
    notice.textContent = text && `Not live since ${since}. ${text}`;
    if (cut && isOut) {
      const link = document.createElement("a");
      link.href = location.pathname + location.search;
      link.textContent = "Log in again.";
      notice.append(" ", link);
    }
  }

  function lose(status) {
    isOut = status === 401;
    const answer = status ? `The dashboard answers with status ${status}.` : "The dashboard does not answer.";
    cut = isOut ? "Your login has ended." : `${answer} Trying again.`;
    show();
  }

  // The extension connects again by itself, but only after it has been connected once.
  function begin(event) {
    const context = event.detail.ctx;
    const status = context?.response?.status;
    if (context?.sourceElement !== live || status < 400) return;
    // Otherwise the answer would replace what is on the page.
    event.preventDefault();
    lose(status);
    setTimeout(() => window.htmx.ajax("GET", live.getAttribute("hx-sse:connect"), { source: live }), EVERY);
  }

  async function again() {
    const answer = await fetch(location.href).catch(() => null);
    if (answer && answer.status < 500) location.reload();
    else setTimeout(again, EVERY);
  }

  if (failed) {
    failed.hidden = false;
    setTimeout(again, EVERY);
  }
  if (!live || !notice) return;
  document.addEventListener("htmx:before:response", begin);
  document.addEventListener("htmx:error", begin);
  document.addEventListener("htmx:sse:error", (event) => lose(event.detail.status));
  document.addEventListener("htmx:sse:after:connection", () => {
    cut = "";
    show();
  });
  document.addEventListener("htmx:sse:after:message", (event) => {
    const message = event.detail.message;
    problem = message.event === "problem" ? message.data : "";
    show();
  });
})();
