"use strict";
// Draws the charts with uPlot, from the numbers in their figures. Without it, the drawings of the server stay.
(() => {
  const dashes = { good: [], bad: [6, 3], warn: [2, 3], calm: [10, 4] };
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const charts = new Map();
  const HEIGHT = 150;

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function time(value) {
    if (value === 0) return "0 s";
    if (value < 0.01) return `${Number((value * 1000).toPrecision(2))} ms`;
    if (value < 1) return `${Math.round(value * 1000)} ms`;
    const [size, unit] = units.find(([each]) => value >= each);
    return `${Number((value / size).toPrecision(3))} ${unit}`;
  }

  function written(value, unit) {
    if (value === null || value === undefined) return "–";
    if (unit === "time") return time(value);
    const text = value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
    return unit === "rate" ? `${text}/s` : text;
  }

  // A version that was new at a time is a line with its name.
  function drawMarks(plot, marks) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = color("dim");
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.lineWidth = devicePixelRatio;
    for (const [place, [at, version]] of marks.entries()) {
      const x = Math.round(plot.valToPos(at, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.setLineDash([4, 4]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const isLeft = x + ctx.measureText(` ${version} `).width < bbox.left + bbox.width;
      ctx.textAlign = isLeft ? "left" : "right";
      ctx.fillText(` ${version} `, x, bbox.top + (10 + 12 * (place % 3)) * devicePixelRatio);
    }
    ctx.restore();
  }

  function options(figure, given, width, shown) {
    const axis = { stroke: color("dim"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false } };
    const last = figure.querySelectorAll(".last");
    return {
      width, height: HEIGHT, legend: { show: false }, padding: [8, 20, 0, 0],
      cursor: { sync: { key: "charts" }, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { y: { range: (plot, least, most) => [0, (most || 1) * 1.1] } },
      axes: [
        { ...axis, size: 26, values: "{HH}:{mm}", space: 60 },
        { ...axis, size: 58, space: 34, values: (plot, splits) => splits.map((one) => written(one, given.unit)) },
      ],
      series: [
        {},
        ...given.looks.map((look) => ({ stroke: color(look), width: 2, dash: dashes[look], points: { show: false, size: 4, fill: color(look), filter: alone } })),
      ],
      hooks: {
        draw: [(plot) => drawMarks(plot, shown.marks)],
        // The values at the cursor replace the last ones.
        setLegend: [(plot) => plot.data.slice(1).forEach((row, place) => {
          const index = plot.cursor.idx;
          if (index !== null && index !== undefined) last[place].textContent = written(row[index], given.unit);
        })],
      },
    };
  }

  function axisOf(times) {
    const length = times[times.length - 1] - times[0];
    return length > 100000 ? "{M}/{D} {HH}:{mm}" : length < 300 ? "{HH}:{mm}:{ss}" : "{HH}:{mm}";
  }

  // A value between two gaps has no line: it is a dot.
  function alone(plot, place) {
    const row = plot.data[place];
    const has = (index) => row[index] !== null && row[index] !== undefined;
    const found = [...row.keys()].filter((index) => has(index) && !has(index - 1) && !has(index + 1));
    return found.length ? found : null;
  }

  function draw() {
    for (const element of document.querySelectorAll("[data-chart]")) {
      const text = element.dataset.chart;
      const known = charts.get(element);
      if (known && known.text === text) continue;
      const given = JSON.parse(text);
      if (!given.data[0].length) continue;
      if (known && known.first === given.data[0].length) {
        known.shown.marks = given.marks;
        known.plot.setData(given.data);
      } else {
        if (known) known.plot.destroy();
        element.textContent = "";
        const shown = { marks: given.marks };
        const chosen = options(element.closest("figure"), given, element.clientWidth, shown);
        chosen.axes[0].values = axisOf(given.data[0]);
        chosen.axes[0].space = chosen.axes[0].values.length * 8;
        const plot = new uPlot(chosen, given.data, element);
        charts.set(element, { plot, shown });
      }
      Object.assign(charts.get(element), { text, first: given.data[0].length });
    }
    for (const [element, { plot }] of charts) {
      if (!element.isConnected) { plot.destroy(); charts.delete(element); }
    }
  }

  function again() {
    for (const { plot } of charts.values()) plot.destroy();
    charts.clear();
    draw();
  }

  document.addEventListener("htmx:sse:after:message", draw);
  document.addEventListener("htmx:after:swap", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new ResizeObserver(() => {
    for (const [element, { plot }] of charts) {
      if (plot.width !== element.clientWidth) plot.setSize({ width: element.clientWidth, height: HEIGHT });
    }
  }).observe(document.getElementById("main"));
  draw();
})();
