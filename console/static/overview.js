"use strict";
// The charts of the overview: orders, and the time from request to completed, over the last hour and day.
(() => {
  const EVERY_MS = 15_000;
  const ORDERS = [
    { key: "accepted", label: "accepted", colour: "--link", dash: [4, 4] },
    { key: "completed", label: "completed", colour: "--good" },
    { key: "undone", label: "declined, failed or cancelled", colour: "--bad" },
  ];
  const DURATIONS = [
    { key: "p50_s", label: "p50", colour: "--link", points: true },
    { key: "p95_s", label: "p95", colour: "--busy", points: true },
  ];
  const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000];
  const COLUMNS = ["accepted", "completed", "declined", "failed", "cancelled", "p50_s", "p95_s"];
  const seconds = (value) => (value == null ? "–" : value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`);
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const shown = new Map(); // section → { etag, data, plots }

  function draw(section) {
    const kept = shown.get(section);
    kept.plots.forEach((plot) => plot.destroy());
    const [orders, durations] = section.querySelectorAll("[data-chart]");
    kept.plots = [
      plotOf(orders, kept.data, ORDERS, (value) => (value == null ? "–" : String(value)), { incrs: WHOLE }),
      plotOf(durations, kept.data, DURATIONS, seconds, { size: 64 }),
    ];
  }

  function plotOf(place, data, lines, format, more) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const options = {
      width: place.clientWidth,
      height: 200,
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [axis, { ...axis, ...more, values: (_, ticks) => ticks.map(format) }],
      series: [{ label: "at" }, ...lines.map((line) => ({
        label: line.label, stroke: colour(line.colour), width: 2, dash: line.dash, spanGaps: false,
        points: { show: line.points ?? false, size: 5 }, value: (_, value) => format(value),
      }))],
    };
    return new uPlot(options, [data.at, ...lines.map((line) => data[line.key])], place);
  }

  function describe(section, data) {
    const period = section.dataset.period;
    const [orders, durations] = section.querySelectorAll("[data-chart]");
    orders.setAttribute("aria-label", `Orders in the ${period}: ` + COLUMNS.slice(0, 5)
      .map((name) => `${sum(data[name])} ${name}`).join(", "));
    const longest = Math.max(0, ...data.p95_s.filter((value) => value != null));
    durations.setAttribute("aria-label", `Time from request to completed in the ${period}: `
      + (longest ? `p95 ${seconds(longest)} at the slowest` : "no order was completed"));
    section.querySelector("details tbody").replaceChildren(...data.at.map((_, row) => rowOf(data, row)).reverse());
  }

  function rowOf(data, row) {
    const line = document.createElement("tr");
    const time = document.createElement("th");
    time.scope = "row";
    time.textContent = new Date(data.at[row] * 1000).toLocaleTimeString(undefined, { timeStyle: "short" });
    line.append(time, ...COLUMNS.map((name) => {
      const cell = document.createElement("td");
      cell.className = "number";
      cell.textContent = name.endsWith("_s") ? seconds(data[name][row]) : String(data[name][row]);
      return cell;
    }));
    return line;
  }

  async function load(section) {
    const kept = shown.get(section) ?? { etag: null, plots: [] };
    const headers = { "HX-Request": "true", ...(kept.etag && { "If-None-Match": kept.etag }) };
    const answer = await fetch(section.dataset.charts, { headers, cache: "no-store" });
    if (answer.status !== 200) return;
    const data = await answer.json();
    data.undone = data.at.map((_, i) => data.declined[i] + data.failed[i] + data.cancelled[i]);
    shown.set(section, { ...kept, etag: answer.headers.get("ETag"), data });
    draw(section);
    describe(section, data);
  }

  const sections = () => [...document.querySelectorAll("[data-charts]")];
  const isStill = () => document.hidden || document.body.classList.contains("paused");
  // A chart that cannot be loaded now is loaded the next time. The figures above say when the console is gone.
  const loadAll = () => sections().forEach((section) => load(section).catch(() => {}));
  const drawAll = () => shown.forEach((_, section) => draw(section));

  document.addEventListener("DOMContentLoaded", () => {
    loadAll();
    setInterval(() => { if (!isStill()) loadAll(); }, EVERY_MS);
    new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    let width = window.innerWidth;
    addEventListener("resize", () => {
      if (window.innerWidth !== width) { width = window.innerWidth; drawAll(); }
    });
  });
})();
