"use strict";
// Draws the page's figures from the JSON beside this script.

const PAGE = JSON.parse(document.getElementById("figures").textContent);
const CONFIG = { displaylogo: false, displayModeBar: "hover", responsive: true };
CONFIG.modeBarButtonsToRemove = ["select2d", "lasso2d", "autoScale2d"];

// a group of curves is one line with gaps; which trial and epoch a point is follows from its place
function placed(trace, heights, epochs) {
  if (trace.trials === undefined) return { ...trace, x: heights.map((_, at) => at + 1), y: heights };
  const { trials, ends, ...rest } = trace;
  const trial = (at) => trials[ends ? at : Math.floor(at / (epochs + 1))];
  const x = heights.map((_, at) => (ends ? PAGE.curves.ended[at] : (at % (epochs + 1)) + 1));
  const hovertemplate = "trial %{text}, epoch %{x}: %{y:.4g}<extra></extra>";
  return { ...rest, x, y: heights, text: heights.map((_, at) => `${trial(at)}`), hovertemplate };
}

function curves(box, choice, figure) {
  const select = (name) => {
    const metric = figure.metrics[name];
    const traces = figure.traces.map((trace, at) => placed(trace, metric.heights[at], figure.epochs));
    Plotly.react(box, traces, { ...figure.layout, yaxis: metric.axis }, CONFIG);
  };
  choice.addEventListener("change", () => select(choice.value));
  select(choice.value);
}

function parallel(box) {
  const again = () => parallelCoordinates(box, PAGE.parallel, PAGE.colors);
  let width = box.clientWidth;
  window.addEventListener("resize", () => {
    if (box.clientWidth !== width) again();
    width = box.clientWidth;
  });
  again();
}

// one figure at a time, so that the page can be read and scrolled before the last is drawn
async function drawAll() {
  const box = (name) => document.getElementById(name);
  const plot = (name, figure) => () => Plotly.newPlot(box(name), figure.traces, figure.layout, CONFIG);
  const figures = (PAGE.panels ?? []).map((panel, at) => plot(`panel-${at}`, panel));
  if (PAGE.curves) figures.unshift(() => curves(box("curves"), box("metric"), PAGE.curves));
  if (PAGE.parallel) figures.push(() => parallel(box("parallel")));
  if (PAGE.tree) figures.push(plot("tree", PAGE.tree));
  (PAGE.histories ?? []).forEach((history, at) => figures.push(plot(`history-${at}`, history)));
  if (PAGE.expected) figures.push(plot("expected", PAGE.expected));
  for (const draw of figures) {
    await new Promise((next) => setTimeout(next));
    draw();
  }
  document.body.dataset.drawn = "yes";
}

drawAll();
