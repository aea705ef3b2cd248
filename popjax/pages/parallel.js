"use strict";
// Parallel coordinates on a canvas: plotly's own need WebGL, which many remote desktops lack.

// `on.select(trials)` is told which trials the brushes choose, null for all, and `on.pick(trial)` which line was clicked
// `kept`: the brushes of the figure that this one replaces
function parallelCoordinates(box, data, colors, on, kept) {
  const axes = data.axes, count = axes[0].units.length, width = Math.max(box.clientWidth, 126 * axes.length);
  const top = 44, height = 330, bottom = top + height, lost = bottom + 26, total = lost + 16;
  const place = (axis) => 46 + (axis * (width - 150)) / Math.max(axes.length - 1, 1);
  const broken = new Set(data.lost);
  // it has no such hyperparameter, or ended before it had a value
  const gap = (axis, trial) => axes[axis].units[trial] === null && !(axis === axes.length - 1 && broken.has(trial));
  const level = (unit) => (unit === null ? lost : bottom - unit * height);
  const rank = new Map(data.order.map((trial, position) => [trial, position]));
  const drawing = [...Array(count).keys()].sort((a, b) => (rank.get(b) ?? count) - (rank.get(a) ?? count));
  const brushes = kept ?? axes.map(() => null); // of each axis from and to, in pixels down; null for all
  const canvas = box.querySelector("canvas"), svg = box.querySelector("svg");
  const pen = canvas.getContext("2d"), sharp = window.devicePixelRatio || 1;
  const over = box.querySelector(".over"), light = over.getContext("2d");
  let told = null;

  function element(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return svg.appendChild(made);
  }

  // stronger is better, and what was left before the end is as the worst; a diverged trial has a colour of its own
  function color(trial) {
    if (broken.has(trial)) return colors.diverged;
    if (trial === data.winner) return colors.winner;
    const share = rank.has(trial) ? (1 - rank.get(trial) / Math.max(data.order.length - 1, 1)) ** 2 : 0;
    return colors.dark ? `hsl(203 ${30 + 55 * share}% ${28 + 48 * share}%)` : `hsl(203 ${30 + 65 * share}% ${80 - 56 * share}%)`;
  }

  function chosen(trial) {
    return brushes.every((brush, axis) => {
      const at = level(axes[axis].units[trial]);
      return brush === null || (!gap(axis, trial) && at >= brush[0] && at <= brush[1]);
    });
  }

  function trace(ink, trial) {
    ink.beginPath();
    axes.forEach((axis, at) => {
      if (gap(at, trial)) return;
      const whole = at > 0 && !gap(at - 1, trial);
      ink[whole ? "lineTo" : "moveTo"](place(at), level(axis.units[trial]));
    });
    ink.stroke();
  }

  function line(trial, faded) {
    pen.strokeStyle = faded ? colors.faded : color(trial);
    pen.globalAlpha = faded ? 0.35 : trial === data.winner ? 1 : count > 1500 ? 0.35 : 0.6;
    pen.lineWidth = trial === data.winner ? 2.5 : 1;
    trace(pen, trial);
  }

  // the trial in hand, on a canvas of its own, so that the others need not be drawn again
  function hold(trial) {
    light.setTransform(sharp, 0, 0, sharp, 0, 0);
    light.clearRect(0, 0, width, total);
    if (trial === null) return;
    for (const [variable, thick] of [["--paper", 7], ["--ink", 3.5]]) {
      light.strokeStyle = getComputedStyle(box).getPropertyValue(variable);
      light.lineWidth = thick;
      trace(light, trial);
    }
  }

  function draw() {
    pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    pen.clearRect(0, 0, width, total);
    const stay = new Set(drawing.filter(chosen));
    if (stay.size < count) drawing.forEach((trial) => stay.has(trial) || line(trial, true));
    drawing.forEach((trial) => stay.has(trial) && line(trial, false));
    if (stay.has(data.winner)) line(data.winner, false);
    tell(stay);
  }

  function tell(stay) {
    const number = (value) => value.toLocaleString("en-US"), free = !brushes.some((brush) => brush);
    const hint = free ? ": drag along an axis to select" : "";
    box.parentNode.querySelector(".selected").textContent = `${number(stay.size)} of ${number(count)} trials selected${hint}`;
    const now = free ? "all" : [...stay].join();
    if (now !== (told ?? "all")) on.select(free ? null : stay);
    told = now;
  }

  // the line nearest to a place between two axes, within 8 pixels
  function nearest(x, y) {
    const right = axes.findIndex((_, at) => place(at) > x);
    if (right < 1) return null;
    const share = (x - place(right - 1)) / (place(right) - place(right - 1));
    let found = null, least = 8;
    for (let at = drawing.length - 1; at >= 0; at -= 1) {
      const trial = drawing[at];
      if (gap(right - 1, trial) || gap(right, trial) || !chosen(trial)) continue;
      const from = level(axes[right - 1].units[trial]), to = level(axes[right].units[trial]);
      const far = Math.abs(from + share * (to - from) - y);
      if (far < least) [found, least] = [trial, far];
    }
    return found;
  }

  function brushable(at) {
    const bar = element("rect", { class: "brush", x: place(at) - 9, width: 18, y: 0, height: 0 });
    const hit = element("rect", { class: "hit", x: place(at) - 18, width: 36, y: top - 6, height: total - top + 6, tabindex: 0, role: "slider" });
    hit.setAttribute("aria-label", `${axes[at].name}: arrows move what is selected, with Shift its lower end, Delete frees it`);
    let start = null;
    const here = (event) => Math.min(Math.max(event.clientY - svg.getBoundingClientRect().top, top - 6), total);
    const show = () => {
      const [from, to] = brushes[at] ?? [0, 0];
      bar.setAttribute("y", from);
      bar.setAttribute("height", to - from);
      hit.setAttribute("aria-valuenow", Math.round((100 * (bottom - (from + to) / 2)) / height));
      hit.setAttribute("aria-valuetext", brushes[at] ? `${Math.round((100 * (bottom - to)) / height)} to ${Math.round((100 * (bottom - from)) / height)} percent of the axis` : "all");
      requestAnimationFrame(draw);
    };
    hit.setAttribute("aria-valuenow", 50);
    hit.setAttribute("aria-valuetext", "all");
    if (brushes[at]) show();
    hit.addEventListener("pointerdown", (event) => {
      start = here(event);
      hit.setPointerCapture(event.pointerId);
    });
    hit.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const now = here(event);
      brushes[at] = Math.abs(now - start) < 3 ? null : [Math.min(start, now), Math.max(start, now)];
      show();
    });
    hit.addEventListener("pointerup", (event) => {
      if (start !== null && Math.abs(here(event) - start) < 3) brushes[at] = null;
      start = null;
      show();
    });
    hit.addEventListener("pointercancel", () => (start = null));
    hit.addEventListener("keydown", (event) => {
      const [from, to] = brushes[at] ?? [top, bottom], step = height / 20, move = { ArrowUp: -step, ArrowDown: step }[event.key];
      if (move && event.shiftKey) brushes[at] = [from, Math.min(Math.max(to + move, from + step), total)]; // its lower end
      else if (move && brushes[at] === null) brushes[at] = move > 0 ? [top + step, bottom] : [top, bottom - step];
      else if (move) {
        const moved = Math.min(Math.max(move, top - 6 - from), total - to); // to the end of the axis, as wide as it is
        brushes[at] = [from + moved, to + moved];
      } else if (event.key === "Delete" || event.key === "Backspace") brushes[at] = null;
      else return;
      event.preventDefault();
      show();
    });
  }

  for (const layer of [canvas, over]) Object.assign(layer, { width: width * sharp, height: total * sharp });
  for (const layer of [canvas, over, svg]) Object.assign(layer.style, { width: `${width}px`, height: `${total}px` });
  svg.replaceChildren();
  svg.onclick = (event) => {
    const { left, top: above } = svg.getBoundingClientRect();
    const trial = event.target.classList.contains("hit") ? null : nearest(event.clientX - left, event.clientY - above);
    if (trial !== null) on.pick(trial);
  };
  axes.forEach((axis, at) => {
    const name = axis.name.length > 15 ? axis.name.slice(0, 14) + "…" : axis.name;
    element("text", { class: "name", x: place(at) - 4, y: 18 }, name).appendChild(element("title", {}, axis.name));
    element("line", { class: "axis", x1: place(at), x2: place(at), y1: top, y2: bottom });
    const ticks = broken.size && at === axes.length - 1 ? [...axis.ticks, [null, "diverged"]] : axis.ticks;
    ticks.forEach(([unit, text]) => {
      element("line", { class: "axis", x1: place(at), x2: place(at) + 4, y1: level(unit), y2: level(unit) });
      const short = text.length > 22 ? text.slice(0, 21) + "…" : text;
      element("text", { class: "tick", x: place(at) + 7, y: level(unit) + 4 }, short);
    });
    brushable(at);
  });
  draw();
  return { hold, brushes };
}
