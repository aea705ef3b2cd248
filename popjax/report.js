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

function drawAll() {
  const box = (name) => document.getElementById(name);
  if (PAGE.curves) curves(box("curves"), box("metric"), PAGE.curves);
  (PAGE.panels ?? []).forEach((panel, at) => Plotly.newPlot(box(`panel-${at}`), panel.traces, panel.layout, CONFIG));
  if (PAGE.parallel) {
    const again = () => parallelCoordinates(box("parallel"), PAGE.parallel, PAGE.colors);
    let width = box("parallel").clientWidth;
    again();
    window.addEventListener("resize", () => {
      if (box("parallel").clientWidth !== width) again();
      width = box("parallel").clientWidth;
    });
  }
  if (PAGE.expected) Plotly.newPlot(box("expected"), PAGE.expected.traces, PAGE.expected.layout, CONFIG);
  document.body.dataset.drawn = "yes";
}

drawAll();
