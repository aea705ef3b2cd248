"use strict";
// Draws the page's figures from the JSON beside this script.

const PAGE = JSON.parse(document.getElementById("figures").textContent);
const CONFIG = { displaylogo: false, displayModeBar: "hover", responsive: true, showSendToCloud: false, plotlyServerURL: "" };
CONFIG.modeBarButtonsToRemove = ["select2d", "lasso2d", "autoScale2d"];
const DARK = window.matchMedia("(prefers-color-scheme: dark)");
const NIGHT = {
  "#1b1f24": "#e6e9ec", "#ffffff": "#14181d", "#eceff2": "#262c33", "#c4cad1": "#4a525c", "#000000": "#f0f0f0",
  "#0072B2": "#4aa8e0", "#dde1e5": "#2c333b", "#949494": "#66707a",
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

function draw(name, traces, layout, alt) {
  const figure = box(name), lit = painted({ ...LIT, ...litIn(name, traces) });
  Plotly.react(figure, [...painted(traces), ...(PAGE.trials ? [lit] : [])], painted(layout), CONFIG);
  for (const button of figure.querySelectorAll(".modebar-btn")) button.tabIndex = -1;
  figure.setAttribute("role", "group");
  figure.setAttribute("aria-label", alt ?? name);
  if (PAGE.cards && !DRAWN.has(name)) {
    figure.on("plotly_click", ({ points }) => trialCard(PAGE.cards[points[0].curveNumber], 0, putBack));
  }
  if (PAGE.trials && !DRAWN.has(name)) {
    figure.on("plotly_click", ({ points }) => {
      const trial = points.map((point) => trialOf(name, point)).find((one) => one !== null);
      if (trial !== undefined) hold(trial);
    });
  }
  DRAWN.set(name, traces);
}

// the trial in hand: on a card, in the address, and lit in all figures by one more trace of each

const LIT = {
  type: "scatter", mode: "lines+markers", name: "in hand", showlegend: false, hoverinfo: "skip", connectgaps: false,
  line: { color: "#1b1f24", width: 3 }, marker: { color: "#1b1f24", size: 7, line: { color: "#ffffff", width: 1.5 } },
};
const DRAWN = new Map(); // figure -> its traces
let held = null, rows = null, lines = null;

// the trial of a point of a figure; null for a point of none
function trialOf(name, { data, customdata, text, pointNumber }) {
  if (name === "curves") return text === undefined ? null : Number(text);
  if (/^(panel|front)(-|$)/.test(name)) return customdata ? customdata[0] : null;
  if (name === "tree") return /^trial \d+/.test(text) ? Number(text.slice(6).match(/^\d+/)[0]) : null;
  if (name.startsWith("history-") && data.meta) return data.meta[data.x.slice(0, pointNumber).filter((x) => x === null).length];
  return null;
}

// the places of the trial in hand in a figure
function litIn(name, traces) {
  const none = { x: [], y: [] };
  if (held === null) return none;
  if (name === "curves") {
    const metric = PAGE.curves.metrics[box("metric").value], epochs = PAGE.curves.epochs;
    const at = PAGE.curves.traces.findIndex((trace) => trace.trials?.includes(held) && !trace.at);
    let heights = null;
    if (at >= 0) heights = metric.heights[at].slice(PAGE.curves.traces[at].trials.indexOf(held) * (epochs + 1)).slice(0, epochs);
    else if (metric === PAGE.curves.metrics[0] && PAGE.trials.curves) heights = PAGE.trials.curves.slice(held * epochs, (held + 1) * epochs);
    return heights ? { x: heights.map((_, epoch) => epoch + 1), y: heights.map((value) => shown(metric, value)) } : none;
  }
  for (const trace of traces) {
    const at = /^(panel|front)(-|$)/.test(name) ? trace.customdata?.findIndex(([trial]) => trial === held) ?? -1 : -1;
    if (at >= 0) return { x: [trace.x[at]], y: [trace.y[at]], yaxis: trace.yaxis ?? "y" };
    const ends = trace.x?.map((x, place) => (x === null ? place : -1)).filter((place) => place >= 0);
    const piece = name.startsWith("history-") ? trace.meta?.indexOf(held) ?? -1 : -1;
    if (piece >= 0) return { x: trace.x.slice(piece ? ends[piece - 1] + 1 : 0, ends[piece]), y: trace.y.slice(piece ? ends[piece - 1] + 1 : 0, ends[piece]) };
    if (name === "tree") {
      const mine = trace.text.map((text) => text.startsWith(`trial ${held},`));
      return { x: trace.x.filter((_, place) => mine[place]), y: trace.y.filter((_, place) => mine[place]) };
    }
  }
  return none;
}

// those in sight first, one at a time, so that the card is there at once
async function relight() {
  await new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
  const mine = held, sight = (name) => Math.abs(box(name).getBoundingClientRect().top - window.innerHeight / 3);
  for (const name of [...DRAWN.keys()].sort((a, b) => sight(a) - sight(b))) {
    await new Promise((next) => setTimeout(next));
    if (mine !== held) return;
    const { x, y, yaxis = "y" } = litIn(name, DRAWN.get(name)), last = box(name).data.length - 1;
    Plotly.restyle(box(name), { x: [x], y: [y], yaxis: [yaxis] }, [last]);
  }
}

function hold(trial) {
  if (trial === held) return;
  held = trial;
  trialCard(PAGE.trials, trial, () => hold(null));
  rows.hold(trial);
  lines?.hold(trial);
  history.replaceState(null, "", trial === null ? location.href.split("#")[0] : `#trial=${trial}`);
  relight();
}

// of a comparison: the winner of a run leaves the card
const putBack = () => trialCard(null, null);

function heldInAddress() {
  const trial = Number(/^#trial=(\d+)$/.exec(location.hash)?.[1] ?? NaN);
  if (Number.isInteger(trial) && trial < PAGE.trials.status.length) hold(trial);
}

// a share of 1 may be shown as what is left of it, in decades
const asErrors = (metric) => metric.errors !== undefined && box("errors").checked;
const shown = (metric, value) => (value === null || !asErrors(metric) ? value : Math.max(1 - value, metric.floor));
const worst = (metric) => (asErrors(metric) ? 1 - metric.worst : metric.worst); // where the diverged lie, of 1
const axis = (metric) => (asErrors(metric) ? metric.errors : metric.axis);

// all that a trial was trained with, for what is shown under the pointer
function hyperparameters(trial) {
  if (!PAGE.trials) return "";
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").slice(0, 40);
  return PAGE.trials.names.map((name, at) => `<br>${escaped(name)} ${escaped(PAGE.trials.labels[at][trial])}`).join("");
}

// a group of curves is one line with gaps: which trial and epoch a point is follows from its place; marks of trials
// are one point each, at the epochs `at`
function placed(trace, heights, metric) {
  const epochs = PAGE.curves.epochs, y = heights.map((value) => shown(metric, value));
  if (trace.trials === undefined) return { ...trace, x: heights.map((_, at) => at + 1), y };
  const { trials, at: marked, ...rest } = trace;
  const trial = (at) => trials[marked ? at : Math.floor(at / (epochs + 1))];
  const known = new Map(PAGE.trials ? trials.map((one) => [one, hyperparameters(one)]) : []);
  const x = heights.map((_, at) => (marked ? marked[at] : (at % (epochs + 1)) + 1));
  const hovertemplate = "trial %{text}, epoch %{x}: %{y:.4g}%{customdata}<extra></extra>";
  return { ...rest, x, y, text: heights.map((_, at) => `${trial(at)}`), customdata: heights.map((_, at) => known.get(trial(at)) ?? ""), hovertemplate };
}

function curves() {
  const figure = PAGE.curves, metric = figure.metrics[box("metric").value];
  const traces = figure.traces.map((trace, at) => placed(trace, metric.heights[at], metric));
  draw("curves", traces, { ...figure.layout, yaxis: axis(metric) }, figure.alt);
}

function panel(at) {
  const metric = PAGE.heights.metrics[box("metric").value], { traces, layout, alt } = PAGE.panels[at];
  const place = new Map(PAGE.heights.trials.map((trial, index) => [trial, index])), [low, high] = metric.frame;
  const moved = traces.map((trace) => {
    if (trace.yaxis === "y2") {
      const customdata = trace.customdata.map(([trial, label]) => [trial, label, "", hyperparameters(trial)]);
      return { ...trace, y: trace.y.map(() => worst(metric)), customdata, hovertemplate: trace.hovertemplate.replace("<extra>", "%{customdata[3]}<extra>") };
    }
    const values = trace.customdata.map(([trial]) => metric.values[place.get(trial)]);
    const y = values.map((value) => shown(metric, value === null ? null : Math.min(Math.max(value, low), high)));
    const customdata = trace.customdata.map(([trial, label], index) => [trial, label, values[index] ?? "none", hyperparameters(trial)]);
    const hovertemplate = trace.hovertemplate.replace(`<br>${PAGE.heights.metrics[0].hover} %{customdata[2]}`, () => `<br>${metric.hover} %{customdata[2]}`).replace("<extra>", "%{customdata[3]}<extra>");
    return { ...trace, y, customdata, hovertemplate };
  });
  draw(`panel-${at}`, moved, { ...layout, yaxis: { ...axis(metric), fixedrange: true } }, alt);
}

function chosen() {
  const metric = (PAGE.heights ?? PAGE.curves).metrics[box("metric").value];
  box("switch").hidden = metric.errors === undefined;
  if (box("worst")) box("worst").textContent = worst(metric) > 0.5 ? "top" : "bottom";
  document.querySelectorAll(".metric").forEach((name) => (name.textContent = metric.name));
}

function parallel() {
  const on = { pick: hold, select: (trials) => rows?.select(trials) };
  lines = parallelCoordinates(box("parallel"), PAGE.parallel, { ...painted(PAGE.colors), dark: DARK.matches }, on, lines?.brushes);
  if (held !== null) lines.hold(held);
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

const plot = (name, figure) => () => draw(name, figure.traces, figure.layout, figure.alt);
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
if (PAGE.trials) {
  rows = trialTable(PAGE.trials, hold);
  window.addEventListener("hashchange", heldInAddress);
  window.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || held === null) return;
    hold(null);
    rows.focus();
  });
}
if (PAGE.cards) window.addEventListener("keydown", (event) => event.key === "Escape" && putBack());
drawAll([...MEASURED, ...OTHERS]).then(() => PAGE.trials && heldInAddress());
