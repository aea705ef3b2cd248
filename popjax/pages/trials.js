"use strict";
// The table of all trials, of which only the rows in sight are made, and the card of the trial in hand.

const ROW = 30; // pixels
const AROUND = 8; // rows made above and below those in sight

function made(name, text, attributes = {}) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const cut = (text) => (text.length > 32 ? text.slice(0, 31) + "…" : text);
const number = (value) => value.toLocaleString("en-US");
const figure = (value) => (value === null ? "–" : String(Number(value.toPrecision(5))));

// name, text and sort key of each column, by trial
function columnsOf(data) {
  const rank = new Map(data.order.map((trial, at) => [trial, at + 1]));
  const plain = (name, values) => ({ name, text: (trial) => String(values[trial]), key: (trial) => values[trial] });
  const metric = (name, at) => ({
    name, key: (trial) => data.values[at][trial], plain: (trial) => figure(data.values[at][trial]),
    text: (trial) => figure(data.values[at][trial]) + (at === 0 && data.error?.[trial] != null ? ` ± ${data.error[trial]}` : ""),
  });
  const hyperparameter = (name, at) => {
    const numbers = data.labels[at].map((label) => (label === "–" ? null : Number(label)));
    const words = numbers.some((value) => Number.isNaN(value));
    const label = (trial) => data.labels[at][trial];
    return { name, text: label, key: (trial) => (words && label(trial) !== "–" ? label(trial) : numbers[trial]) };
  };
  return [
    { name: "rank", text: (trial) => String(rank.get(trial) ?? "–"), key: (trial) => rank.get(trial) ?? null },
    { name: "trial", text: String, key: (trial) => trial },
    ...(data.rounds ? [plain("round", data.rounds)] : []),
    ...data.names.map(hyperparameter),
    ...data.metrics.map(metric),
    plain("epochs", data.epochs),
    { name: "status", text: (trial) => data.words[data.status[trial]], key: (trial) => data.words[data.status[trial]] },
  ];
}

// absent keys come last whichever way is sorted; equal ones by rank
function ordered(trials, key, down, place) {
  const sign = down ? -1 : 1;
  return trials.sort((a, b) => {
    const one = key(a), other = key(b);
    if (one === null || other === null) return (one === null) - (other === null) || place(a) - place(b);
    return sign * (typeof one === "string" ? one.localeCompare(other, undefined, { numeric: true }) : one - other) || place(a) - place(b);
  });
}

function trialTable(data, pick) {
  const box = document.getElementById("trials"), status = document.getElementById("status");
  const kept = document.getElementById("kept"), head = box.querySelector("thead tr"), body = box.querySelector("tbody");
  const columns = columnsOf(data), count = data.status.length, all = [...Array(count).keys()];
  const ranks = new Map(data.order.map((trial, at) => [trial, at])), place = (trial) => ranks.get(trial) ?? count + trial;
  let rows = [], by = 0, down = false, chosen = null, held = null, current = 0, drawn = "";

  const kind = (column) => (column.name === "status" ? { class: "word" } : {});
  const cell = (text, column) => made("td", cut(text), kind(column));
  function row(trial, at, reached) {
    const line = made("tr", undefined, { "aria-rowindex": at + 2, "data-trial": trial, tabindex: at === reached ? 0 : -1 });
    line.classList.toggle("winner", trial === data.winner);
    line.setAttribute("aria-selected", trial === held);
    line.append(...columns.map((column) => cell(column.text(trial), column)));
    return line;
  }
  const space = (lines) => {
    const line = made("tr", undefined, { "aria-hidden": "true" });
    line.style.height = `${lines * ROW}px`;
    return line;
  };
  function draw(always) {
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - AROUND);
    const last = Math.min(rows.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + AROUND);
    if (!always && drawn === `${first} ${last}`) return;
    drawn = `${first} ${last}`;
    const focused = body.contains(document.activeElement);
    const reached = current >= first && current < last ? current : first; // by the keyboard
    const lines = rows.slice(first, last).map((trial, at) => row(trial, first + at, reached));
    body.replaceChildren(...(first ? [space(first)] : []), ...lines, ...(last < rows.length ? [space(rows.length - last)] : []));
    if (focused) body.querySelector('tr[tabindex="0"]')?.focus({ preventScroll: true });
  }
  function refresh() {
    const word = status.value;
    const those = all.filter((trial) => (word === "" || data.words[data.status[trial]] === word) && (chosen === null || chosen.has(trial)));
    rows = ordered(those, columns[by].key, down, place);
    current = Math.max(0, held === null ? 0 : rows.indexOf(held));
    kept.textContent = `${number(rows.length)} of ${number(count)} trials`;
    box.firstElementChild.setAttribute("aria-rowcount", rows.length + 1);
    [...head.children].forEach((name, at) => name.setAttribute("aria-sort", at !== by ? "none" : down ? "descending" : "ascending"));
    box.scrollTop = Math.min(box.scrollTop, Math.max(0, (rows.length + 1) * ROW - box.clientHeight)); // of fewer rows
    draw(true);
  }
  function reach(at, focus) {
    current = Math.min(Math.max(at, 0), rows.length - 1);
    const top = current * ROW, room = box.clientHeight - 2 * ROW;
    if (top < box.scrollTop || top > box.scrollTop + room) box.scrollTop = Math.max(0, top - room / 2);
    draw(true);
    if (focus) body.querySelector('tr[tabindex="0"]')?.focus({ preventScroll: true });
  }

  head.replaceChildren(...columns.map((column, at) => {
    const name = made("th", undefined, { scope: "col", ...kind(column) }), button = made("button", cut(column.name), { type: "button", title: column.name });
    const widest = all.reduce((most, trial) => Math.max(most, column.text(trial).length), column.name.length + 2);
    name.style.minWidth = `${Math.min(widest, 28)}ch`;
    button.addEventListener("click", () => {
      down = by === at && !down;
      by = at;
      box.scrollTop = 0;
      refresh();
    });
    name.append(button);
    return name;
  }));
  const words = data.words.filter((_, at) => data.status.includes(at));
  status.replaceChildren(made("option", "all", { value: "" }), ...words.map((word) => made("option", word, { value: word })));
  status.addEventListener("change", refresh);
  box.addEventListener("scroll", () => draw(false), { passive: true });
  new ResizeObserver(() => draw(false)).observe(box);
  body.addEventListener("click", (event) => {
    const line = event.target.closest("tr[data-trial]");
    if (line) pick(Number(line.dataset.trial));
  });
  body.addEventListener("keydown", (event) => {
    const line = event.target.closest("tr[data-trial]"), page = Math.max(1, Math.floor(box.clientHeight / ROW) - 2);
    if (line) current = rows.indexOf(Number(line.dataset.trial)); // a table that was scrolled has another in reach
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -rows.length, End: rows.length };
    if (event.key in steps) reach(current + steps[event.key], true);
    else if (event.key === "Enter" || event.key === " ") pick(rows[current]);
    else return;
    event.preventDefault();
  });
  document.getElementById("download").addEventListener("click", () => {
    const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const plain = (column, trial) => (column.plain ?? column.text)(trial).replace(/^–$/, "");
    const lines = [columns.map((column) => column.name), ...rows.map((trial) => columns.map((column) => plain(column, trial)))];
    const link = made("a", undefined, { download: "trials.csv" });
    link.href = URL.createObjectURL(new Blob([lines.map((line) => line.map(quoted).join(",") + "\n").join("")], { type: "text/csv" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  refresh();
  return {
    select: (trials) => { chosen = trials; refresh(); },
    hold: (trial) => { held = trial; const at = rows.indexOf(trial); if (at >= 0) reach(at, false); else draw(true); },
    focus: () => reach(current, true),
  };
}

// why a trial is what it is, in words
function whyOf(data, trial) {
  const word = data.words[data.status[trial]], epochs = data.epochs[trial], value = data.values[0][trial];
  if (word === "diverged") return data.lost[trial];
  const then = epochs && data.curves ? data.curves[trial * data.last + epochs - 1] : null; // `value` may be of its best epoch
  const known = value === null ? "" : `, with ${data.metrics[0]} ${figure(value)}`;
  const at = then === null ? known : `, where ${data.metrics[0]} was ${figure(then)}`;
  if (word === "complete") return epochs < data.last ? `rests after epoch ${epochs}, out of patience` : "trained to the end";
  const beside = word === "pruned" ? placeOf(data, trial, epochs) : "";
  return epochs ? `${word} after epoch ${epochs} of ${data.last}${at}${beside}` : `${word} before its first epoch`;
}

// how a pruned trial stood among those that were trained as far, of which some were trained on, as halving compared them
function placeOf(data, trial, epochs) {
  if (!data.curves || !data.rungs) return "";
  const sign = data.mode === "max" ? -1 : 1;
  const then = (one) => {
    const values = data.curves.slice(one * data.last, one * data.last + epochs);
    const last = values.at(-1);
    if (data.rungs === "last" || last === null) return last;
    return sign * Math.min(...values.map((value) => sign * value));
  };
  const as = data.epochs.map((_, one) => one).filter((one) => data.epochs[one] >= epochs && then(one) !== null);
  const ahead = as.filter((one) => sign * then(one) < sign * then(trial)).length, on = as.filter((one) => data.epochs[one] > epochs);
  return `: place ${number(ahead + 1)} of ${number(as.length)} there, of which ${number(on.length)} were trained on`;
}

// a small curve of the metric that ranks; null if the page does not have it
function curveOf(data, trial) {
  if (!data.curves) return null;
  const values = data.curves.slice(trial * data.last, (trial + 1) * data.last);
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return null;
  const low = Math.min(...known), high = Math.max(...known), room = high - low || 1;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 240 60");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${data.metrics[0]} by epoch, from ${figure(known[0])} to ${figure(known.at(-1))}`);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const points = values.map((value, at) => (value === null ? null : `${(236 * at) / (data.last - 1) + 2},${56 - (52 * (value - low)) / room}`));
  line.setAttribute("points", points.filter((point) => point !== null).join(" "));
  svg.append(line);
  return svg;
}

function trialCard(data, trial, leave) {
  const card = document.getElementById("card");
  card.hidden = trial === null;
  if (trial === null) return;
  const rank = data.order.indexOf(trial), close = made("button", "×", { type: "button", "aria-label": "put the trial back (Escape)" });
  close.addEventListener("click", leave);
  const run = data.run === undefined ? "" : `${data.run}: `;
  const list = made("dl"), pairs = [...data.names.map((name, at) => [name, data.labels[at][trial]]), ...data.fixed];
  pairs.push(...data.metrics.map((name, at) => [name, figure(data.values[at][trial])]));
  pairs.forEach(([name, value]) => list.append(made("dt", name), made("dd", value)));
  const place = data.place !== undefined ? `, ${data.place}` : rank < 0 ? "" : trial === data.winner ? `, rank ${rank + 1}, the winner` : `, rank ${rank + 1} of ${number(data.order.length)}`;
  const curve = curveOf(data, trial);
  card.replaceChildren(
    close, made("h3", `${run}trial ${data.number ?? trial}${place}`), made("p", whyOf(data, trial)), ...(curve ? [curve] : []), list,
    ...data.lines.map((line) => made("code", line.replace("{}", data.number ?? trial))),
  );
}
