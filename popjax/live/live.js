"use strict";
// The living population: curves that grow, one trial that is picked, and what is asked of it.

history.replaceState(null, "", "/"); // the token has done its work
const box = (id) => document.getElementById(id);
const NAMES = { w: "has not begun", t: "trains", r: "waits", s: "is stopped", d: "has diverged", e: "is trained to the end" };
const LOSSES = /loss|mae|mse|mape|error/;
const STEPS = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((power) => [power, 2 * power, 5 * power]); // of epochs
const SAMPLED = 4000; // values that decide what a figure spans
const LEAST = -20; // the lowest decade that is drawn: uPlot finds no end to ticks from 1e-23 on, which is no power of ten in floats
const DARK = window.matchMedia("(prefers-color-scheme: dark)");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// four digits, in a room of nine characters
function number(value) {
  if (value === null || value === undefined) return "–";
  const four = Number(value.toPrecision(4)), size = Math.abs(four);
  return size === 0 || (size >= 1e-4 && size < 1e6) ? String(four) : four.toExponential().replace("+", "");
}

let about = null; // what never changes
let drawn = []; // the trials whose curves are drawn, and the place of each
let places = new Map();
let count = 0; // of all trials
let curves = []; // of each, a value an epoch
let status = "";
let figures = {};
let picked = null;
let details = null; // of the picked trial
let chart = null;
let alone = null;
let colors = {};
let decided = false; // by the user, whether there are decades
let leader = null; // the curve of the best trial, if it is not among those drawn
let heard = 0; // lines of the log, of which a stream that begins again tells all
let stale = false; // whether the figures are to be drawn again

// -- what the server tells

let stream = null, resting = false;
function listen(metric) {
  stream?.close();
  resting = false;
  stream = new EventSource(metric ? `events?metric=${encodeURIComponent(metric)}` : "events");
  stream.onmessage = (message) => take(JSON.parse(message.data));
  stream.onopen = () => linked("lives", "live");
  stream.onerror = () => {
    linked("cut", "the connection is cut; trying again");
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => stream.readyState === EventSource.CLOSED && listen(box("metric").value), 3000); // it was refused
  };
}

function linked(kind, words) {
  box("link").className = kind;
  box("link").textContent = words;
}

function take(told) {
  if (told.about) begin(told.about);
  if (told.anew || told.trials !== undefined) cast(told);
  for (const [trial, first, values] of told.curves ?? []) {
    const curve = curves[places.get(trial)];
    curve.length = Math.min(curve.length, first);
    curve.push(...values);
  }
  const low = told.curves?.some(([, , values]) => values.some((value) => value !== null && value <= 0));
  if (low && box("decades").checked && !decided) {
    box("decades").checked = false; // there are no decades of such values
    anew();
  }
  if (told.status !== undefined) status = told.status;
  figures = told.figures ?? figures;
  if (told.figures || told.anew || told.trials !== undefined) lead();
  for (const line of told.log ?? []) log(line);
  const news = (told.log ?? []).filter((line) => line.number >= heard);
  heard = Math.max(heard, ...news.map((line) => line.number + 1));
  const last = news.findLast((line) => line.trial === picked);
  if (last) say(last.by === "user" ? "" : last.text);
  if (told.over) return over(told);
  if (told.elsewhere) return rest(told.elsewhere);
  const letter = status[places.get(picked)];
  if (news.some((line) => line.trial === picked || line.trial === undefined || about.one) || letter !== details?.status) look();
  else if (told.curves?.some(([trial]) => trial === picked)) stands();
  cards();
  stale = true;
}

// a stream begins: everything is told again
function begin(known) {
  const other = about?.metric !== known.metric;
  about = known;
  drawn = [];
  curves = [];
  places = new Map();
  status = "";
  chart?.destroy();
  chart = null;
  box("log").replaceChildren();
  box("title").textContent = about.title;
  const options = about.metrics.map((name) => new Option(name, name, false, name === about.metric));
  box("metric").replaceChildren(...options);
  leader = null;
  box("cards").replaceChildren();
  if (other) {
    decided = false;
    box("decades").checked = LOSSES.test(about.metric) || (about.mode === "min" && about.metric === about.metrics[0]);
  }
  for (const verb of ["pause", "end", "stop", "lift", "save"]) box(verb).hidden = !about.verbs.includes(verb);
  box("cloning").hidden = !about.verbs.includes("clone");
  box("backing").hidden = !about.verbs.includes("back");
  box("go").hidden = !about.verbs.includes("go");
  document.body.classList.toggle("one", about.one);
  if (about.one) pick(0);
  linked("lives", "live");
}

function cast(told) {
  count = told.trials ?? count;
  if (told.anew) curves = [];
  drawn = told.drawn ?? Array.from({ length: count }, (_, trial) => trial);
  places = new Map(drawn.map((trial, place) => [trial, place]));
  while (curves.length < drawn.length) curves.push([]);
  const several = drawn.length < count ? `${drawn.length} of ${count} curves are drawn. ` : "";
  box("hint").textContent = `${several}Point at a curve to see which trial it is; click it to pick it.`;
  chart?.destroy();
  chart = null;
}

function over(told) {
  linked("cut", told.over);
  box("metric").disabled = true;
  for (const button of document.querySelectorAll("button:not(.card)")) button.disabled = true;
  if (told.report) location.replace("report"); // the stream ends with the page: the server waits for this tab
  else stream.close();
}

// so many other tabs are open, and a browser has no connection left for what is asked
function rest(others) {
  stream.close();
  resting = true;
  linked("cut", `this tab rests, since ${others} others are open; click to go on`);
}

const wake = () => resting && listen(box("metric").value);

function log(line) {
  const item = document.createElement("li"), subject = document.createElement("b");
  subject.textContent = line.trial === undefined ? "" : about.one ? `${line.by} ` : `trial ${line.trial} `;
  item.className = line.by;
  item.append(subject, line.text);
  box("log").prepend(item);
  if (box("log").childElementCount <= 200) return;
  const others = box("log").querySelectorAll("li:not(.user)"); // the newest may be one
  (others.length > 1 ? others[others.length - 1] : box("log").lastChild).remove();
}

// -- figures

function cards() {
  const counts = figures.counts ?? {}, best = figures.best;
  const when = best?.epoch ? `the best so far, in epoch ${best.epoch}` : "best now"; // a session's, a search's
  const which = about.one ? `, ${when}` : `, trial ${best?.trial}: ${when}`;
  const shown = [[best ? number(best.value) : "–", best ? about.metrics[0] + which : "best now", "winner"]];
  if (about.one) shown.push([String(figures.epoch ?? 0), "epochs trained", ""]);
  else {
    shown.push([String(counts.train ?? 0), "train", ""], [String((counts.rest ?? 0) + (counts.wait ?? 0)), figures.pruned ? "pruned" : "rest", ""]);
    shown.push([String(counts.stopped ?? 0), "stopped", ""], [String(counts.diverged ?? 0), "diverged", ""]);
    if (about.epochs !== null) shown.push([String(counts.done ?? 0), "trained to the end", ""]);
  }
  if (box("cards").childElementCount !== shown.length) box("cards").replaceChildren(...shown.map(([, , kind]) => card(kind)));
  shown.forEach(([figure, words], at) => {
    const [bold, text] = box("cards").children[at].children;
    bold.textContent = figure;
    text.textContent = words;
  });
  if (about.epochs === null) box("share").hidden = true;
  else if (figures.words) box("share").removeAttribute("value");
  else box("share").value = figures.share ?? 0;
  const left = figures.left === null || figures.left === undefined ? figures.words ?? "" : `${time(figures.left)} left`;
  box("left").textContent = figures.paused ? "paused" : left;
  box("pause").textContent = figures.paused ? "Go on" : "Pause";
  box("end").textContent = figures.ending ? "Stopping after this epoch" : about.one ? "End" : "Stop after this epoch";
  box("end").disabled = Boolean(figures.ending);
}

// made once, so that a click on the best is not lost between two messages
function card(kind) {
  const made = document.createElement(kind === "winner" ? "button" : "div");
  made.className = `card ${kind}`;
  made.append(document.createElement("b"), document.createElement("span"));
  if (kind === "winner") made.onclick = () => figures.best && pick(figures.best.trial);
  return made;
}

// of many trials only some are drawn: the curve of the best is asked for
let leading = false; // one question at a time
async function lead() {
  const best = figures.best?.trial, metric = about.metric;
  if (best === undefined || places.has(best)) return (leader = null);
  if (leading) return;
  leading = true;
  const told = await fetch(`trial/${best}?curve=${encodeURIComponent(metric)}`).then((answer) => answer.json()).catch(() => null);
  leading = false;
  if (best !== figures.best?.trial || metric !== about.metric) return lead();
  if (!told?.curve) return;
  leader = { trial: best, curve: told.curve };
  stale = true;
}

function time(seconds) {
  return seconds < 90 ? `${seconds} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// -- curves

function palette() {
  const names = { t: "--train", e: "--train", r: "--rest", w: "--rest", s: "--rest", best: "--blue", picked: "--winner", ink: "--soft", line: "--line" };
  colors = Object.fromEntries(Object.entries(names).map(([key, name]) => [key, color(name)]));
  colors.d = "#a33";
}

// the epochs that are drawn: those so far, and some air
function reach() {
  const now = Math.max(1, ofBest().length, ofPicked().length, ...curves.map((curve) => curve.length));
  return Math.min(about.epochs ?? Infinity, Math.max(4, Math.ceil(1.25 * now)));
}

const drawable = (decades) => (value) => (value === null || value === undefined || (decades && value <= 0) ? null : value);

function axes() {
  const major = (plot, splits) => {
    const whole = splits.filter((split) => Math.abs(Math.log10(split) % 1) < 1e-6);
    return box("decades").checked && whole.length > 1 ? splits.map((split) => (whole.includes(split) ? split : null)) : splits;
  };
  const line = { stroke: colors.line, width: 1 }, grid = { ...line, filter: major }, font = "12px system-ui, sans-serif";
  const whole = (plot, splits) => splits.map((split) => (Number.isInteger(split) ? split : ""));
  const short = (plot, splits) => splits.map((split) => (split === null ? "" : number(split)));
  return [
    { stroke: colors.ink, font, grid: line, ticks: line, incrs: STEPS, values: whole, label: "epoch", labelFont: font, labelSize: 24 },
    { stroke: colors.ink, font, grid, ticks: grid, values: short, size: 62 },
  ];
}

// what most curves span: a few far values are not worth the room of all others, unless they are to be `kept`
function span(some, kept = []) {
  const decades = box("decades").checked, can = drawable(decades);
  const lengthened = (values) => values.filter((value) => can(value) !== null).map((value) => (decades ? Math.max(Math.log10(value), LEAST) : value));
  const few = some.length > SAMPLED ? some.filter((_, at) => at % Math.ceil(some.length / SAMPLED) === 0) : some;
  const values = lengthened(few).sort((a, b) => a - b), at = (share) => values[Math.round(share * (values.length - 1))];
  if (values.length === 0) return [0.1, 1];
  const room = 1.5 * (at(0.9) - at(0.1)) || Infinity;
  const inside = [...values.filter((value) => value >= at(0.1) - room && value <= at(0.9) + room), ...lengthened(kept)];
  let low = Infinity, high = -Infinity;
  for (const value of inside) [low, high] = [Math.min(low, value), Math.max(high, value)];
  const air = 0.05 * (high - low) || 0.05 * Math.abs(high) || 0.1;
  return decades ? [tick(10 ** Math.max(low - air, LEAST)), 10 ** (high + air)] : [low - air, high + air];
}

// a value's first digit: uPlot counts the ticks of decades up from the lower end, and never ends where that is none
function tick(value) {
  const decade = 10 ** Math.floor(Math.log10(value));
  return Math.floor(value / decade) * decade;
}

const ofPicked = () => curves[places.get(picked)] ?? details?.curve ?? [];
const ofBest = () => curves[places.get(figures.best?.trial)] ?? (leader?.trial === figures.best?.trial ? leader?.curve : null) ?? [];

const scales = (range) => ({
  x: { time: false, range: () => [0.5, reach() + 0.5] },
  y: { distr: box("decades").checked ? 3 : 1, range },
});

function draw() {
  if (about === null || drawn.length === 0) return;
  const one = drawn.map((trial, place) => ({
    label: String(trial),
    width: drawn.length > 100 ? 0.8 : 1.2,
    alpha: drawn.length > 100 ? 0.45 : 0.8,
    stroke: () => colors[status[place]] ?? colors.t,
    points: { show: () => curves[place]?.length === 1 }, // a line of one epoch is none
    spanGaps: false,
  }));
  const thick = (name, curve) => ({ label: name, width: 3, stroke: () => colors[name], points: { show: () => curve().length === 1 } });
  const options = {
    width: box("curves").clientWidth,
    height: box("curves").clientWidth < 500 ? 320 : 420,
    pxAlign: 0,
    legend: { show: false },
    cursor: { points: { show: false }, drag: { x: false, y: false, click: () => {} }, y: false, move: onEpoch },
    scales: scales(() => span(curves.filter((_, place) => status[place] !== "d").flat(), ofBest())),
    axes: axes(),
    series: [{}, ...one, thick("best", ofBest), thick("picked", ofPicked)],
    hooks: { setCursor: [pointed] },
  };
  chart = new uPlot(options, table(), box("curves"));
  chart.over.addEventListener("click", () => nearest && pick(nearest.trial));
}

function table() {
  const epochs = Array.from({ length: reach() }, (_, at) => at + 1);
  const can = drawable(box("decades").checked), long = (curve) => epochs.map((_, at) => can(curve[at]));
  return [epochs, ...curves.map(long), long(ofBest()), long(ofPicked())];
}

// the line of the pointer stands on an epoch; uPlot takes that for a drag, of which it loses the click
function onEpoch(plot, left, top) {
  return left < 0 ? [left, top] : [plot.valToPos(plot.data[0][plot.posToIdx(left)], "x"), top];
}

let nearest = null;
function pointed(plot) {
  const { left, top, idx } = plot.cursor;
  nearest = null;
  if (idx !== null && idx !== undefined && left >= 0) {
    for (let place = 0; place < drawn.length; place += 1) {
      const value = plot.data[place + 1][idx];
      if (value === null || value === undefined) continue;
      const y = plot.valToPos(value, "y"), far = Math.abs(y - top);
      if (far < 30 && (nearest === null || far < nearest.far)) nearest = { far, y, value, trial: drawn[place], epoch: idx + 1 };
    }
  }
  tip(plot, nearest);
}

function tip(plot, at) {
  let [words, spot] = plot.over.querySelectorAll(".tip, .spot");
  if (words === undefined) {
    [words, spot] = [document.createElement("div"), document.createElement("div")];
    [words.className, spot.className] = ["tip", "spot"];
    plot.over.append(words, spot);
  }
  words.hidden = spot.hidden = at === null;
  plot.over.style.cursor = at === null ? "default" : "pointer";
  if (at === null) return;
  const x = plot.valToPos(at.epoch, "x"), right = x > plot.over.clientWidth / 2;
  words.textContent = `trial ${at.trial}, epoch ${at.epoch}: ${number(at.value)}`;
  Object.assign(words.style, { top: `${at.y + 8}px`, left: right ? "" : `${x + 10}px`, right: right ? `${plot.over.clientWidth - x + 10}px` : "" });
  Object.assign(spot.style, { top: `${at.y}px`, left: `${x}px` });
}

function drawAlone() {
  if (details === null) return;
  const curve = ofPicked(), epochs = Array.from({ length: reach() }, (_, at) => at + 1);
  const can = drawable(box("decades").checked), values = epochs.map((_, at) => can(curve[at]));
  alone?.destroy();
  const options = {
    width: box("alone").clientWidth,
    height: 200,
    legend: { show: false },
    cursor: { show: false },
    scales: scales(() => span(curve, curve)),
    axes: axes(),
    series: [{}, { width: 2, stroke: colors.picked, points: { show: curve.length < 3 } }],
  };
  alone = new uPlot(options, [epochs, values], box("alone"));
}

// at most one drawing a frame, and only of what has changed
function frame() {
  requestAnimationFrame(frame);
  if (!stale || about === null) return;
  stale = false;
  if (chart === null) draw();
  else chart.setData(table());
}

function anew() {
  palette();
  chart?.destroy();
  alone?.destroy();
  chart = alone = null;
  stale = true;
  drawAlone();
}

// -- one trial

function pick(trial) {
  box("number").value = trial;
  if (!(trial >= 0 && trial < Math.max(count, 1))) return unpick(`there is no trial ${trial}; choose 0..${count - 1}`);
  picked = trial;
  say("");
  stale = true;
  look();
}

let looking = false, again = false; // one question at a time, and none is forgotten
async function look() {
  again = looking;
  if (looking || picked === null) return;
  looking = true;
  const wanted = picked, curve = places.has(picked) ? "" : `?curve=${encodeURIComponent(about.metric)}`;
  const told = await fetch(`trial/${wanted}${curve}`).then((answer) => answer.json()).catch(() => null);
  looking = false;
  if (told !== null && wanted === picked) told.error ? unpick(told.error) : show(told);
  else if (told === null && details?.trial !== picked) unpick("No answer: the connection is cut.");
  if (again || picked !== wanted) look();
}

function unpick(why) {
  picked = details = null;
  box("picked").hidden = true;
  box("none").hidden = false;
  box("stands").textContent = "";
  say(why);
}

function show(told) {
  const before = details;
  details = told;
  box("none").hidden = true;
  box("picked").hidden = false;
  const going = told.status === "t" || told.status === "s" || told.status === "r";
  box("stop").disabled = told.status !== "t";
  box("lift").disabled = told.status !== "s";
  const same = before?.trial === told.trial && JSON.stringify(before.hparams) === JSON.stringify(told.hparams) && before.status === told.status;
  if (!same) box("hparams").replaceChildren(...told.hparams.map((row) => slider(row, going || about.one, told.trial)));
  stands();
  stale = true;
}

function stands() {
  if (details?.trial !== picked) return;
  const epoch = curves[places.get(picked)]?.length ?? details.epoch;
  box("stands").textContent = about.one ? "" : `${NAMES[details.status] ?? ""}, epoch ${epoch}${details.feasible === false ? ", infeasible" : ""}`;
  drawAlone();
}

// a hyperparameter: its value, and a slider along its own axis where it may be set
function slider(row, going, trial) {
  const line = document.createElement("tr"), [name, value, place, act] = [0, 1, 2, 3].map(() => line.insertCell());
  name.textContent = row.name;
  value.textContent = row.label;
  place.className = "wide";
  if (row.steps === undefined || !about.verbs.includes("set")) {
    place.className = "fixed";
    place.textContent = row.steps === undefined ? "fixes a shape" : "";
    return line;
  }
  const range = document.createElement("input"), exact = document.createElement("input"), button = document.createElement("button");
  const ends = document.createElement("div");
  ends.className = "ends";
  ends.append(...row.ends.map((end) => Object.assign(document.createElement("span"), { textContent: end })));
  Object.assign(range, { type: "range", min: 0, max: row.steps.length - 1, step: 1 });
  range.setAttribute("aria-label", row.name);
  range.value = row.steps.reduce((best, [step], at) => (Math.abs(step - row.value) < Math.abs(row.steps[best][0] - row.value) ? at : best), 0);
  Object.assign(exact, { type: "number", step: "any", value: row.value });
  exact.setAttribute("aria-label", `${row.name}, exactly`);
  range.oninput = () => (exact.value = row.steps[range.value][0]);
  button.textContent = "Set";
  button.disabled = !going;
  exact.onkeydown = (event) => event.key === "Enter" && button.click();
  button.onclick = () => exact.value !== "" && ask({ verb: "set", trial, values: { [row.name]: Number(exact.value) } });
  place.append(range, ends);
  act.append(exact, " ", button);
  return line;
}

function say(words) {
  box("said").textContent = words;
}

async function ask(change) {
  say("");
  try {
    const headers = { "Content-Type": "application/json", "X-Popjax": "1" };
    const answer = await fetch("change", { method: "POST", headers, body: JSON.stringify(change) });
    const told = await answer.json();
    if (!answer.ok || told.refused) return say(told.refused ?? told.error);
    if (told.waits) say(figures.paused ? "It will be done when the search goes on." : "It will be done at the end of this epoch.");
  } catch {
    say("No answer: the connection is cut.");
  }
  look();
}

const whole = (id) => (box(id).value === "" ? null : Math.trunc(Number(box(id).value)));
box("number").onchange = () => whole("number") !== null && pick(whole("number"));
box("metric").onchange = () => listen(box("metric").value);
box("decades").onchange = () => {
  decided = true;
  anew();
};
box("pause").onclick = () => ask({ verb: figures.paused ? "resume" : "pause" });
box("end").onclick = () => ask({ verb: "end" });
box("link").onclick = wake;
document.addEventListener("visibilitychange", () => document.hidden || wake());
for (const verb of ["stop", "lift", "save"]) box(verb).onclick = () => ask({ verb, trial: picked });
box("clone").onclick = () => whole("target") !== null && ask({ verb: "clone", trial: whole("target"), source: picked });
for (const verb of ["back", "go"]) box(verb).onclick = () => ask({ verb, epochs: whole("epochs") ?? 1 });

let width = 0;
new ResizeObserver(() => {
  if (box("curves").clientWidth !== width) anew();
  width = box("curves").clientWidth;
}).observe(box("curves"));
DARK.addEventListener("change", anew);
palette();
listen();
requestAnimationFrame(frame);
