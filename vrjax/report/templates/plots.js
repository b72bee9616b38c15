// Curves, heat maps, forests: SVG drawn at the width there is, so text keeps its size.
const FONT = 12;

function niceTicks(low, high, most) {
  const span = high - low || 1;
  const raw = span / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(raw));
  const unit = [1, 2, 2.5, 5, 10].find((u) => u * power >= raw * 0.999) * power;
  const ticks = [];
  for (let i = Math.ceil(low / unit - 1e-9); i * unit <= high + unit * 1e-9; i += 1) ticks.push(Number((i * unit).toPrecision(12)));
  return ticks;
}

// Runs of points without gaps.
function runs(count, present) {
  const out = [];
  for (let i = 0; i < count; i += 1) {
    if (!present(i)) continue;
    if (i > 0 && present(i - 1) && out.length) out[out.length - 1].push(i);
    else out.push([i]);
  }
  return out;
}

function classesFor(series) {
  const seen = { model: 0, null: 0, control: 0 };
  const tones = { model: 4, null: 2, control: 3 }; // a colour that was used before is dashed otherwise
  return series.map((s) => {
    const n = seen[s.role]++;
    return `${s.role} ${s.role}-${n % tones[s.role]}${n < tones[s.role] ? "" : " again"}`;
  });
}

// A plot of spec.series; returns update(step, seed). `move(step)` is called on click or drag, if given.
function curvePlot(mount, spec, move = null) {
  const state = { step: null, seed: 0 };
  const names = classesFor(spec.series);
  const legend = element("ul", { class: "legend" });
  const box = element("div", { class: "plot-box" });
  mount.append(legend, box);
  const values = spec.series.map((s, i) => {
    const value = element("span", { class: "value" });
    const key = shape("svg", { class: "key", width: 22, height: 10, "aria-hidden": "true" });
    key.append(shape("line", { class: `line ${names[i]}`, x1: 1, x2: 21, y1: 5, y2: 5 }));
    legend.append(element("li", {}, key, element("span", { class: "name", dir: "auto" }, s.name), value));
    return value;
  });
  const rows = (s) => (Array.isArray(s.y[0]) ? s.y : [s.y]);
  const pickRow = (s, what) => (s[what] === null ? null : Array.isArray(s[what][0]) ? s[what][Math.min(state.seed, s[what].length - 1)] : s[what]);
  const [bottom, top] = spec.yRange || [0, 1];
  const clip = `clip-${(curvePlot.made = (curvePlot.made || 0) + 1)}`;
  spec.series.forEach((s, i) => {
    const beyond = rows(s).flat().filter((v) => v !== null && (v < bottom || v > top));
    if (beyond.length) values[i].before(element("span", { class: "beyond" }, `leaves the plot, to ${number(beyond.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a)))}`));
  });
  const left = Math.min(...spec.series.map((s) => s.x[0]));
  const right = Math.max(...spec.series.map((s) => s.x[s.x.length - 1]));
  const at = { x: null, y: null };

  function draw(width) {
    const height = Math.round(clamp(width * 0.5, 170, 230));
    const labels = niceTicks(bottom, top, 4);
    const m = { left: 14 + 7 * Math.max(...labels.map((t) => number(t).length)) + (spec.yLabel ? 16 : 0), right: 12, top: 10, bottom: spec.xLabel ? 38 : 22 };
    at.x = (v) => m.left + ((v - left) / (right - left || 1)) * (width - m.left - m.right);
    at.y = (v) => height - m.bottom - ((clamp(v, bottom - 9 * (top - bottom), top + 9 * (top - bottom)) - bottom) / (top - bottom)) * (height - m.top - m.bottom);
    const root = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${spec.title}: ${spec.series.map((s) => s.name).join(", ")}` });
    for (const t of labels) {
      root.append(shape("line", { class: "gridline", x1: m.left, x2: width - m.right, y1: at.y(t), y2: at.y(t) }));
      root.append(shape("text", { class: "tick", x: m.left - 8, y: at.y(t) + 4, "text-anchor": "end" }, number(t)));
    }
    for (const t of niceTicks(left, right, Math.max(2, Math.floor(width / 70)))) {
      if (spec.sync && !Number.isInteger(t)) continue;
      root.append(shape("text", { class: "tick", x: at.x(t), y: height - m.bottom + 16, "text-anchor": "middle" }, number(t)));
    }
    root.append(shape("line", { class: "axis", x1: m.left, x2: width - m.right, y1: height - m.bottom, y2: height - m.bottom }));
    if (spec.xLabel) root.append(shape("text", { class: "label", x: (m.left + width - m.right) / 2, y: height - 5, "text-anchor": "middle" }, spec.xLabel));
    if (spec.yLabel) root.append(shape("text", { class: "label", transform: `translate(12 ${(m.top + height - m.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, spec.yLabel));
    const inside = shape("clipPath", { id: clip });
    inside.append(shape("rect", { x: m.left - 4, y: m.top - 4, width: width - m.left - m.right + 8, height: height - m.top - m.bottom + 8 }));
    const plot = shape("g", { "clip-path": `url(#${clip})` });
    root.append(inside, plot);
    const order = spec.series.map((_, i) => i).sort((a, b) => (spec.series[a].role === "model") - (spec.series[b].role === "model"));
    for (const i of order) {
      const s = spec.series[i];
      const low = pickRow(s, "low");
      const high = pickRow(s, "high");
      const path = (ys) => runs(s.x.length, (k) => ys[k] !== null).map((run) => run.map((k, j) => `${j ? "L" : "M"}${at.x(s.x[k]).toFixed(1)} ${at.y(ys[k]).toFixed(1)}`).join("")).join("");
      if (low) {
        const area = runs(s.x.length, (k) => low[k] !== null && high[k] !== null)
          .map((run) => `M${run.map((k) => `${at.x(s.x[k]).toFixed(1)} ${at.y(high[k]).toFixed(1)}`).join("L")}L${[...run].reverse().map((k) => `${at.x(s.x[k]).toFixed(1)} ${at.y(low[k]).toFixed(1)}`).join("L")}Z`).join("");
        plot.append(shape("path", { class: `area ${names[i]}`, d: area }));
      }
      if (rows(s).length > 1) rows(s).forEach((ys, k) => k !== state.seed && plot.append(shape("path", { class: `line faint ${names[i]}`, d: path(ys) })));
      // a point without neighbours is no line
      const ys = pickRow(s, "y");
      for (const [k] of runs(s.x.length, (j) => ys[j] !== null).filter((run) => run.length === 1)) plot.append(shape("circle", { class: `dot ${names[i]}`, cx: at.x(s.x[k]), cy: at.y(ys[k]), r: 4 }));
      plot.append(shape("path", { class: `line ${names[i]}`, d: path(pickRow(s, "y")) }));
    }
    root.append(shape("g", { class: "cursor" }));
    box.replaceChildren(root);
    cursor();
  }

  function cursor() {
    const group = box.querySelector(".cursor");
    if (!group) return;
    group.replaceChildren();
    const step = spec.sync ? state.step : null;
    const inside = step !== null && step >= left && step <= right;
    if (inside) {
      const floor = Number(box.querySelector(".axis").getAttribute("y1"));
      group.append(shape("line", { class: "cursor-line", x1: at.x(step), x2: at.x(step), y1: 6, y2: floor }));
    }
    spec.series.forEach((s, i) => {
      const k = inside ? s.x.indexOf(step) : -1;
      const y = k < 0 ? null : pickRow(s, "y")[k];
      values[i].textContent = y === null || y === undefined ? "" : number(y);
      if (y !== null && y !== undefined && y >= bottom && y <= top) group.append(shape("circle", { class: `dot ${names[i]}`, cx: at.x(step), cy: at.y(y), r: 4 }));
    });
    mount.dataset.step = step === null ? "" : step;
  }

  if (spec.sync && move) {
    box.classList.add("clickable");
    const to = (event) => {
      const x = event.clientX - box.getBoundingClientRect().left;
      const share = (x - at.x(left)) / (at.x(right) - at.x(left) || 1);
      move(left + clamp(share, 0, 1) * (right - left));
    };
    box.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse") box.setPointerCapture(event.pointerId);
      to(event);
    });
    box.addEventListener("pointermove", (event) => event.buttons === 1 && event.pointerType === "mouse" && to(event));
  }
  whenSized(box, draw);
  return (step, seed = 0) => {
    const changed = seed !== state.seed;
    Object.assign(state, { step, seed });
    if (changed && box.clientWidth) draw(box.clientWidth);
    else cursor();
  };
}

function scaleBar(stops, low, high, unit, words = null) {
  const canvas = element("canvas", { width: 64, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  for (let i = 0; i < 64; i += 1) {
    context.fillStyle = rgb(colour(stops, i / 63));
    context.fillRect(i, 0, 1, 1);
  }
  const ends = words || [number(low), number(high) + (unit ? ` ${unit}` : "")];
  return element("p", { class: "scale" }, element("span", {}, ends[0]), canvas, element("span", { dir: "auto" }, ends[1]));
}

// A grid of coloured cells. fill(row, column) -> colour or null; returns {recolour, mark(row, column), draw}.
function cellGrid(mount, spec) {
  const { rows, columns, xLabel, yLabel, fill, describe } = spec;
  const box = element("div", { class: "plot-box" });
  const hover = element("p", { class: "hover", "aria-hidden": "true" }, "\u00a0");
  mount.append(box, hover);
  let cells = [];
  let place = null;
  const marked = { row: null, column: null };
  function draw(width) {
    const wide = 14 + 6.6 * Math.min(16, Math.max(...rows.map((t) => t.length))) + (yLabel ? 16 : 0);
    const size = { x: (width - wide - 8) / columns.length };
    size.y = clamp(spec.square ? size.x : 190 / rows.length, 6, spec.square ? 44 : 30);
    size.x = spec.square ? Math.min(size.x, 44) : size.x;
    const height = rows.length * size.y + (xLabel ? 40 : 24);
    const root = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spec.title });
    const gap = size.x > 9 && size.y > 9 ? 1.5 : 0;
    cells = rows.map((_, r) => columns.map((__, c) => {
      const cell = shape("rect", { class: "cell", x: wide + c * size.x, y: 2 + r * size.y, width: Math.max(0.5, size.x - gap), height: Math.max(0.5, size.y - gap), rx: gap ? 2 : 0 });
      cell.addEventListener("pointerenter", () => { hover.textContent = describe(r, c); });
      root.append(cell);
      return cell;
    }));
    box.onpointerleave = () => { hover.textContent = "\u00a0"; };
    const skipY = Math.ceil(15 / size.y);
    const skipX = Math.ceil((6.6 * Math.max(...columns.map((t) => t.length)) + 8) / size.x);
    rows.forEach((t, r) => r % skipY === 0 && root.append(shape("text", { class: "tick", x: wide - 7, y: 2 + (r + 0.5) * size.y + 4 - gap / 2, "text-anchor": "end" }, t.length > 16 ? `${t.slice(0, 15)}…` : t)));
    columns.forEach((t, c) => c % skipX === 0 && root.append(shape("text", { class: "tick", x: wide + (c + 0.5) * size.x, y: rows.length * size.y + 17, "text-anchor": "middle" }, t)));
    if (xLabel) root.append(shape("text", { class: "label", x: wide + (columns.length * size.x) / 2, y: height - 5, "text-anchor": "middle" }, xLabel));
    if (yLabel) root.append(shape("text", { class: "label", transform: `translate(12 ${2 + (rows.length * size.y) / 2}) rotate(-90)`, "text-anchor": "middle" }, yLabel));
    root.append(shape("rect", { class: "cell-mark", rx: 3, visibility: "hidden" }));
    place = (row, column) => ({
      x: wide + (column === null ? 0 : column * size.x) - 1.5, y: (row === null ? 0 : row * size.y) + 0.5,
      width: (column === null ? columns.length : 1) * size.x - gap + 3, height: (row === null ? rows.length : 1) * size.y - gap + 3,
    });
    box.replaceChildren(root);
    recolour();
    mark(marked.row, marked.column);
  }
  function recolour() {
    cells.forEach((line, r) => line.forEach((cell, c) => {
      const value = fill(r, c);
      cell.setAttribute("fill", value === null ? "transparent" : value);
      cell.classList.toggle("empty", value === null);
    }));
  }
  function mark(row, column) {
    Object.assign(marked, { row, column });
    const frame = box.querySelector(".cell-mark");
    if (!frame) return;
    frame.setAttribute("visibility", row === null && column === null ? "hidden" : "visible");
    for (const [name, value] of Object.entries(place(row, column))) frame.setAttribute(name, value);
  }
  whenSized(box, draw);
  return { recolour, mark };
}

function heatPlot(mount, spec) {
  const stops = spec.diverging ? DIVERGE : GLOW;
  const unit = (v) => (v - spec.low) / (spec.high - spec.low || 1);
  const grid = cellGrid(mount, {
    ...spec,
    square: false,
    fill: (r, c) => (spec.values[r][c] === null ? null : rgb(colour(stops, unit(spec.values[r][c])))),
    describe: (r, c) => `${spec.yLabel || "row"} ${spec.rows[r]}, ${spec.xLabel || "column"} ${spec.columns[c]}: ${number(spec.values[r][c])} ${spec.unit}`,
  });
  mount.append(scaleBar(stops, spec.low, spec.high, spec.unit));
  return (step) => {
    if (!spec.stepAxis) return;
    const labels = (spec.stepAxis === "x" ? spec.columns : spec.rows).map(Number);
    const i = labels.indexOf(step);
    mount.dataset.step = step;
    grid.mark(spec.stepAxis === "y" && i >= 0 ? i : null, spec.stepAxis === "x" && i >= 0 ? i : null);
  };
}

function forestPlot(mount, spec) {
  const box = element("div", { class: "plot-box" });
  mount.append(box);
  const all = spec.arms.flatMap((a) => [a.low, a.estimate, a.high]).concat(spec.reference).filter((v) => v !== null);
  const span = Math.max(...all) - Math.min(...all) || 1;
  const [low, high] = [Math.min(...all) - 0.06 * span, Math.max(...all) + 0.06 * span];
  const names = spec.arms.map((a) => a.role);
  whenSized(box, (width) => {
    const narrow = width < 560;
    const rowHeight = narrow ? 44 : 30;
    const start = narrow ? 8 : clamp(7.2 * Math.max(...spec.arms.map((a) => a.name.length)) + 16, 90, width * 0.34);
    const end = narrow ? width - 8 : width - 190;
    const top = spec.referenceLabel ? 24 : 8;
    const height = top + spec.arms.length * rowHeight + (spec.xLabel ? 42 : 26);
    const x = (v) => start + ((v - low) / (high - low)) * (end - start);
    const floor = top + spec.arms.length * rowHeight + 2;
    const root = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${spec.title}. ${spec.arms.map((a) => `${a.name}: ${number(a.estimate)}${a.low === null ? "" : ` (${number(a.low)} to ${number(a.high)})`}`).join("; ")}` });
    for (const t of niceTicks(low, high, Math.max(2, Math.floor((end - start) / 80)))) {
      root.append(shape("line", { class: "gridline", x1: x(t), x2: x(t), y1: top, y2: floor }));
      root.append(shape("text", { class: "tick", x: x(t), y: floor + 16, "text-anchor": "middle" }, number(t)));
    }
    if (spec.reference !== null) {
      root.append(shape("line", { class: "reference", x1: x(spec.reference), x2: x(spec.reference), y1: top - 4, y2: floor }));
      if (spec.referenceLabel) {
        const anchor = x(spec.reference) > width * 0.66 ? "end" : x(spec.reference) < width * 0.33 ? "start" : "middle";
        root.append(shape("text", { class: "label", x: x(spec.reference), y: 13, "text-anchor": anchor }, spec.referenceLabel));
      }
    }
    spec.arms.forEach((a, i) => {
      const y = top + (i + 0.5) * rowHeight + (narrow ? 9 : 0);
      const most = Math.floor((narrow ? width - 130 : start - 12) / 6.6);
      const name = shape("text", { class: "arm", x: narrow ? 8 : start - 12, y: narrow ? y - 13 : y + 4, "text-anchor": narrow ? "start" : "end" }, a.name.length > most ? `${a.name.slice(0, Math.max(1, most - 1))}…` : a.name);
      if (a.note || a.name.length > most) name.append(shape("title", {}, `${a.name} ${a.note}`));
      root.append(name);
      if (a.low !== null) root.append(shape("line", { class: `whisker ${names[i]}`, x1: x(a.low), x2: x(a.high), y1: y, y2: y }));
      root.append(a.role === "null" ? shape("rect", { class: "point null", x: x(a.estimate) - 4.5, y: y - 4.5, width: 9, height: 9 }) : shape("circle", { class: `point ${names[i]}`, cx: x(a.estimate), cy: y, r: 5 }));
      const words = `${number(a.estimate)}${a.low === null ? "" : `  [${number(a.low)}, ${number(a.high)}]`}${a.n === null || narrow ? "" : `  n ${a.n}`}`;
      root.append(shape("text", { class: "tick", x: width - 4, y: narrow ? y - 13 : y + 4, "text-anchor": "end" }, words));
    });
    root.append(shape("line", { class: "axis", x1: start, x2: end, y1: floor, y2: floor }));
    if (spec.xLabel) root.append(shape("text", { class: "label", x: (start + end) / 2, y: height - 5, "text-anchor": "middle" }, spec.xLabel));
    box.replaceChildren(root);
  });
}
