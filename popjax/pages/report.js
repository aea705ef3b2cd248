"use strict";
// Draws the page's figures from the JSON beside this script.

const PAGE = JSON.parse(document.getElementById("figures").textContent);
const CONFIG = { displaylogo: false, displayModeBar: "hover", responsive: true, showSendToCloud: false, plotlyServerURL: "" };
CONFIG.modeBarButtonsToRemove = ["select2d", "lasso2d", "autoScale2d"];
const DARK = window.matchMedia("(prefers-color-scheme: dark)");
const NIGHT = {
  "#1b1f24": "#e6e9ec", "#ffffff": "#14181d", "#eceff2": "#262c33", "#c4cad1": "#4a525c", "#000000": "#f0f0f0",
  "#0072B2": "#4aa8e0", "#dde1e5": "#2c333b",
};
const box = (name) => document.getElementById(name);

// a figure in the colours of the system: those of the day, or their counterparts at night
function painted(value) {
  if (!DARK.matches) return value;
  if (typeof value === "string") return NIGHT[value] ?? value;
  if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(painted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, painted(part)]));
}

function draw(name, traces, layout) {
  return Plotly.react(box(name), painted(traces), painted(layout), CONFIG);
}

// a share of 1 may be shown as what is left of it, in decades
const asErrors = (metric) => metric.errors !== undefined && box("errors").checked;
const shown = (metric, value) => (value === null || !asErrors(metric) ? value : Math.max(1 - value, metric.floor));
const worst = (metric) => (asErrors(metric) ? 1 - metric.worst : metric.worst); // where the diverged lie, of 1
const axis = (metric) => (asErrors(metric) ? metric.errors : metric.axis);

// a group of curves is one line with gaps: which trial and epoch a point is follows from its place; marks of trials
// are one point each, at the epochs `at`
function placed(trace, heights, metric) {
  const epochs = PAGE.curves.epochs, y = heights.map((value) => shown(metric, value));
  if (trace.trials === undefined) return { ...trace, x: heights.map((_, at) => at + 1), y };
  const { trials, at: marked, ...rest } = trace;
  const trial = (at) => trials[marked ? at : Math.floor(at / (epochs + 1))];
  const x = heights.map((_, at) => (marked ? marked[at] : (at % (epochs + 1)) + 1));
  const hovertemplate = "trial %{text}, epoch %{x}: %{y:.4g}<extra></extra>";
  return { ...rest, x, y, text: heights.map((_, at) => `${trial(at)}`), hovertemplate };
}

function curves() {
  const figure = PAGE.curves, metric = figure.metrics[box("metric").value];
  const traces = figure.traces.map((trace, at) => placed(trace, metric.heights[at], metric));
  draw("curves", traces, { ...figure.layout, yaxis: axis(metric) });
}

function panel(at) {
  const metric = PAGE.heights.metrics[box("metric").value], { traces, layout } = PAGE.panels[at];
  const place = new Map(PAGE.heights.trials.map((trial, index) => [trial, index])), [low, high] = metric.frame;
  const moved = traces.map((trace) => {
    if (trace.yaxis === "y2") return { ...trace, y: trace.y.map(() => worst(metric)) };
    const values = trace.customdata.map(([trial]) => metric.values[place.get(trial)]);
    const y = values.map((value) => shown(metric, value === null ? null : Math.min(Math.max(value, low), high)));
    const customdata = trace.customdata.map(([trial, label], index) => [trial, label, values[index] ?? "none"]);
    return { ...trace, y, customdata, hovertemplate: trace.hovertemplate.replace(PAGE.heights.metrics[0].hover, metric.hover) };
  });
  draw(`panel-${at}`, moved, { ...layout, yaxis: { ...axis(metric), fixedrange: true } });
}

function chosen() {
  const metric = (PAGE.heights ?? PAGE.curves).metrics[box("metric").value];
  box("switch").hidden = metric.errors === undefined;
  if (box("worst")) box("worst").textContent = worst(metric) > 0.5 ? "top" : "bottom";
  document.querySelectorAll(".metric").forEach((name) => (name.textContent = metric.name));
}

function parallel() {
  parallelCoordinates(box("parallel"), PAGE.parallel, { ...painted(PAGE.colors), dark: DARK.matches });
}

// one figure at a time, so that the page can be read and scrolled before the last is drawn
async function drawAll(figures) {
  delete document.body.dataset.drawn;
  for (const figure of figures) {
    await new Promise((next) => setTimeout(next));
    figure();
  }
  document.body.dataset.drawn = "yes";
}

const plot = (name, figure) => () => draw(name, figure.traces, figure.layout);
const MEASURED = (PAGE.panels ?? []).map((_, at) => () => panel(at)); // what the choice of the metric changes
if (PAGE.curves) MEASURED.unshift(curves);
if (PAGE.curves || PAGE.panels) MEASURED.unshift(chosen);
const OTHERS = (PAGE.histories ?? []).map((history, at) => plot(`history-${at}`, history));
if (PAGE.tree) OTHERS.unshift(plot("tree", PAGE.tree));
if (PAGE.parallel) OTHERS.unshift(parallel);
Object.entries(PAGE.plots ?? {}).forEach(([name, figure]) => OTHERS.push(plot(name, figure)));

box("metric")?.addEventListener("change", () => drawAll(MEASURED));
box("errors")?.addEventListener("change", () => drawAll(MEASURED));
DARK.addEventListener("change", () => drawAll([...MEASURED, ...OTHERS]));
if (PAGE.parallel) {
  let width = box("parallel").clientWidth;
  window.addEventListener("resize", () => {
    if (box("parallel").clientWidth !== width) parallel();
    width = box("parallel").clientWidth;
  });
}
for (const scroll of document.querySelectorAll(".scroll")) {
  const wide = () => scroll.classList.toggle("wide", scroll.scrollWidth > scroll.clientWidth + 1);
  new ResizeObserver(wide).observe(scroll);
}
drawAll([...MEASURED, ...OTHERS]);
