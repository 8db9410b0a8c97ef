"use strict";
// Zooms the graph of a flow, and moves it by dragging. Without it, the graph has its own size and scroll bars.
(() => {
  const LEAST = 0.3;
  const MOST = 2.5;
  // What the user has chosen, 0 for a graph that fits; a picture that comes later has the same scale.
  let chosen = 0;
  let isFirst = true;
  let held = null;

  const frame = () => document.querySelector(".graph");
  const picture = () => [...document.querySelectorAll(".graph svg")].find((one) => getComputedStyle(one).display !== "none");

  // The scale at which the whole graph is seen, as far as its texts can be read then.
  function fitting(box, size) {
    return Math.min(1, Math.max(0.55, Math.min((box.clientWidth - 16) / size.width, 560 / size.height)));
  }

  function show() {
    const box = frame();
    const svg = picture();
    if (!box || !svg) return;
    document.querySelector(".zoom").hidden = false;
    const size = svg.viewBox.baseVal;
    const scale = chosen || fitting(box, size);
    svg.setAttribute("width", Math.round(size.width * scale));
    svg.setAttribute("height", Math.round(size.height * scale));
    if (isFirst) reveal(box, svg);
    isFirst = false;
  }

  // The first failed job comes into sight.
  function reveal(box, svg) {
    const failed = svg.querySelector(".node.failed");
    if (!failed) return;
    const here = box.getBoundingClientRect();
    const there = failed.getBoundingClientRect();
    box.scrollLeft += Math.max(0, there.right - here.right + 16);
    box.scrollTop += Math.max(0, there.bottom - here.bottom + 16);
  }

  // The point in the middle stays there.
  function zoom(factor) {
    const box = frame();
    const svg = picture();
    const before = svg.clientWidth || 1;
    const [x, y] = [box.scrollLeft + box.clientWidth / 2, box.scrollTop + box.clientHeight / 2];
    const scale = svg.getAttribute("width") / svg.viewBox.baseVal.width;
    chosen = factor ? Math.min(MOST, Math.max(LEAST, scale * factor)) : 0;
    show();
    const grown = svg.clientWidth / before;
    box.scrollLeft = x * grown - box.clientWidth / 2;
    box.scrollTop = y * grown - box.clientHeight / 2;
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-zoom]");
    if (button) zoom(Number(button.dataset.zoom));
    // The end of a drag is no click on the node below.
    if (held?.isMoved) event.preventDefault();
  });

  document.addEventListener("wheel", (event) => {
    if (!event.ctrlKey || !event.target.closest(".graph")) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1);
  }, { passive: false });

  // Fingers scroll the graph by themselves.
  document.addEventListener("pointerdown", (event) => {
    const box = event.target.closest(".graph");
    const isMouse = event.pointerType === "mouse" && event.button === 0;
    held = box && isMouse ? { box, x: event.clientX, y: event.clientY, left: box.scrollLeft, top: box.scrollTop } : null;
  });

  document.addEventListener("pointermove", (event) => {
    if (!held || !(event.buttons & 1)) return;
    const [x, y] = [event.clientX - held.x, event.clientY - held.y];
    held.isMoved ||= Math.hypot(x, y) > 4;
    if (!held.isMoved) return;
    held.box.scrollLeft = held.left - x;
    held.box.scrollTop = held.top - y;
  });

  // The click of a drag comes at once, if at all.
  document.addEventListener("pointerup", () => setTimeout(() => { held = null; }));

  document.addEventListener("dragstart", (event) => {
    if (event.target.closest?.(".graph")) event.preventDefault();
  });

  document.addEventListener("htmx:sse:after:message", show);
  document.addEventListener("htmx:after:swap", show);
  window.addEventListener("resize", show);
  show();
})();
