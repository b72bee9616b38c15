// The scrubber: one case, one seed, one step, one frame in view; everything on the bench follows.
const INK = { threshold: 0.22, floor: 0.06, wrong: [255, 45, 150], missing: [0, 190, 235] };
const MOST_ROWS = 10;
const MOST_COLUMNS = 16;

function scrubberPanel(root, spec, index) {
  const refs = {};
  for (const node of root.querySelectorAll("[data-ref]")) refs[node.dataset.ref] = node;
  const state = { case: 0, seed: 0, step: 0, frame: 0, overlay: "picture" };
  let current = null; // the case in view, with its pictures decoded
  let followers = []; // its maps and curves
  let timer = null;
  let layout = null; // the contact sheet's geometry, for clicks
  const scratch = document.createElement("canvas");

  // ---- pictures ------------------------------------------------------------------------------------------------
  const distance = (a, i, b, j) => Math.max(Math.abs(a[i] - b[j]), Math.abs(a[i + 1] - b[j + 1]), Math.abs(a[i + 2] - b[j + 2])) / 255;

  // One cell as ImageData, with the chosen overlay: `wrong ink` is what the guess draws where the truth leaves the
  // first frame alone; `missing ink` is where the truth draws and the guess differs.
  function cell(seed, step, frame, overlay = state.overlay) {
    const { width, height } = current.spec;
    const image = cut(current.x0[seed], step, frame, width, height);
    if (overlay === "picture" || !current.truth) return image;
    const pixels = image.data;
    const truth = cut(current.truth, 0, frame, width, height).data;
    const first = cut(current.truth, 0, 0, width, height).data;
    for (let i = 0; i < pixels.length; i += 4) {
      const off = distance(pixels, i, truth, i);
      if (overlay === "difference") {
        const c = GLOW_TABLE[Math.round(254 * off)];
        [pixels[i], pixels[i + 1], pixels[i + 2]] = c;
        continue;
      }
      const inked = distance(truth, i, first, i) > INK.threshold;
      const tint = inked ? INK.missing : INK.wrong;
      const amount = off < INK.floor ? 0 : Math.min(1, 0.25 + off);
      const grey = 0.55 * (0.3 * pixels[i] + 0.59 * pixels[i + 1] + 0.11 * pixels[i + 2]) + 60;
      for (let k = 0; k < 3; k += 1) pixels[i + k] = grey + (tint[k] - grey) * amount;
    }
    return image;
  }

  function paint(canvas, image) {
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  // ---- contact sheet -------------------------------------------------------------------------------------------
  function drawSheet() {
    if (!current || !refs.sheet.clientWidth) return;
    const { width, height, frames, steps, sigma } = current.spec;
    const rows = pick(steps.length, MOST_ROWS, state.step);
    const columns = pick(frames, MOST_COLUMNS, state.frame);
    const total = refs.sheet.clientWidth;
    const margin = { left: sigma ? 74 : 40, top: 22, gap: 3 };
    const size = Math.max(8, Math.min(84, (total - margin.left) / columns.length - margin.gap));
    const tall = (size * height) / width;
    const lines = rows.length + (current.truth ? 1 : 0);
    const full = margin.top + lines * (tall + margin.gap) + (current.truth ? 10 : 0) + 2;
    const ratio = window.devicePixelRatio || 1;
    const canvas = refs.sheetCanvas;
    canvas.width = Math.round(total * ratio);
    canvas.height = Math.round(full * ratio);
    canvas.style.height = `${full}px`;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.font = `11px ${theme("--sans")}`;
    context.textBaseline = "middle";
    const ink = theme("--ink-soft");
    const strong = theme("--ink");
    const lamp = theme("--lamp");
    const edge = theme("--edge");
    const x = (c) => margin.left + c * (size + margin.gap);
    const y = (r) => margin.top + r * (tall + margin.gap) + (r >= rows.length ? 10 : 0);
    const put = (image, c, top) => {
      scratch.width = width;
      scratch.height = height;
      scratch.getContext("2d").putImageData(image, 0, 0);
      context.imageSmoothingEnabled = width > size * ratio;
      context.drawImage(scratch, x(c), top, size, tall);
      context.lineWidth = 1;
      context.strokeStyle = edge;
      context.strokeRect(x(c) - 0.5, top - 0.5, size + 1, tall + 1);
    };
    const lit = rows.indexOf(state.step);
    context.fillStyle = theme("--lamp-soft");
    context.fillRect(0, y(lit) - 2, x(columns.length) - margin.gap + 2, tall + 4);
    context.fillStyle = ink;
    context.fillText(sigma ? "step" : "", 6, margin.top - 11);
    context.textAlign = "right";
    context.fillText("frame", margin.left - 8, margin.top - 11);
    context.textAlign = "center";
    columns.forEach((frame, c) => {
      context.fillStyle = frame === state.frame ? strong : ink;
      context.fillText(String(frame), x(c) + size / 2, margin.top - 11);
    });
    rows.forEach((step, r) => {
      context.textAlign = "left";
      context.fillStyle = r === lit ? strong : ink;
      context.font = `${r === lit ? "600 " : ""}11px ${theme("--sans")}`;
      context.fillText(String(steps[step]), 6, y(r) + tall / 2);
      if (sigma) context.fillText(`σ ${sigma[step].toFixed(2)}`, 28, y(r) + tall / 2);
      columns.forEach((frame, c) => put(cell(state.seed, step, frame), c, y(r)));
    });
    if (current.truth) {
      context.fillStyle = ink;
      context.font = `11px ${theme("--sans")}`;
      context.fillText("truth", 6, y(rows.length) + tall / 2);
      columns.forEach((frame, c) => put(cut(current.truth, 0, frame, width, height), c, y(rows.length)));
    }
    const column = columns.indexOf(state.frame);
    context.lineWidth = 5;
    context.strokeStyle = theme("--card");
    context.strokeRect(x(column) - 1, y(lit) - 1, size + 2, tall + 2);
    context.lineWidth = 3;
    context.strokeStyle = lamp;
    context.strokeRect(x(column) - 1, y(lit) - 1, size + 2, tall + 2);
    layout = { rows, columns, margin, size, tall };
  }

  function sheetCell(event) {
    if (!layout) return;
    const box = refs.sheet.getBoundingClientRect();
    const c = Math.floor((event.clientX - box.left - layout.margin.left) / (layout.size + layout.margin.gap));
    const r = Math.floor((event.clientY - box.top - layout.margin.top) / (layout.tall + layout.margin.gap));
    if (r < 0) return;
    const changes = {};
    if (r < layout.rows.length) changes.step = layout.rows[r];
    if (c >= 0 && c < layout.columns.length) changes.frame = layout.columns[c];
    go(changes);
  }

  // ---- everything that depends on where we are -----------------------------------------------------------------

  function go(changes) {
    if (!current) return;
    const { steps, frames, seeds } = current.spec;
    if (changes.seed !== undefined) state.seed = clamp(changes.seed, 0, seeds.length - 1);
    if (changes.step !== undefined) state.step = clamp(changes.step, 0, steps.length - 1);
    if (changes.frame !== undefined) state.frame = clamp(changes.frame, 0, frames - 1);
    if (changes.overlay !== undefined) state.overlay = changes.overlay;
    activeScrubber = index;
    show();
  }

  function show() {
    const { steps, sigma, frames, seeds, outcomes, scores, noisy } = current.spec;
    const grid = steps[state.step];
    paint(refs.big, cell(state.seed, state.step, state.frame));
    if (current.truth) paint(refs.truth, cut(current.truth, 0, state.frame, current.spec.width, current.spec.height));
    if (noisy) paint(refs.noisy, cut(current.noisy[state.seed], state.step, state.frame, current.spec.width, current.spec.height));
    const noise = sigma ? `, noise level ${number(sigma[state.step])}` : "";
    refs.big.setAttribute("aria-label", `The model's guess at step ${grid}${noise}, frame ${state.frame}`);
    refs.truth.setAttribute("aria-label", `${current.spec.truthLabel}, frame ${state.frame}`);
    refs.noisy.setAttribute("aria-label", `The noisy state at step ${grid}, frame ${state.frame}`);
    for (const [name, last] of [["step", steps.length - 1], ["frame", frames - 1]]) {
      refs[name].value = state[name];
      refs[name].style.setProperty("--at", `${(100 * state[name]) / Math.max(1, last)}%`);
    }
    refs.step.setAttribute("aria-valuetext", `step ${grid} of ${steps[steps.length - 1]}${noise}`);
    refs.frame.setAttribute("aria-valuetext", `frame ${state.frame} of ${frames - 1}`);
    refs.stepOut.replaceChildren("step ", element("b", {}, String(grid)), " ", sigma ? element("span", { class: "sigma" }, `σ ${sigma[state.step].toFixed(3)}`) : "");
    refs.frameOut.replaceChildren("frame ", element("b", {}, String(state.frame)));
    refs.outcome.hidden = !outcomes;
    if (outcomes) {
      refs.outcome.textContent = `ends: ${outcomes[state.seed]}`;
      refs.outcome.className = `chip small ${!scores ? "open" : scores[state.seed] >= 1 ? "yes" : "no"}`;
    }
    const events = current.spec.events.filter((e) => e.seed === null || e.seed === state.seed);
    const now = events.filter((e) => e.step === grid).map((e) => e.label);
    refs.eventLine.textContent = now.length ? `Here: ${now.join("; ")}` : "";
    refs.eventLine.hidden = !events.length;
    drawEvents(events);
    [...refs.seeds.querySelectorAll("canvas")].forEach((canvas, seed) => paint(canvas, cell(seed, state.step, state.frame)));
    [...refs.seeds.querySelectorAll("input")].forEach((input, seed) => { input.checked = seed === state.seed; });
    drawSheet();
    followers.forEach((follow) => follow(grid, state.seed, state.step, state.frame));
    announceStep(index, grid);
    refs.status.textContent = `${seeds[state.seed]}, step ${grid}${noise}, frame ${state.frame}`;
    refs.overlayKey.replaceChildren();
    if (state.overlay === "ink") refs.overlayKey.append(element("i", { class: "swatch wrong" }), "drawn where the truth draws nothing ", element("i", { class: "swatch missing" }), "not drawn, or drawn otherwise");
    if (state.overlay === "difference") refs.overlayKey.append("Largest colour difference from the truth: dark is none, bright is all.");
    Object.assign(root.dataset, { case: state.case, seed: state.seed, step: grid, frame: state.frame, overlay: state.overlay });
  }

  function drawEvents(events) {
    const { steps } = current.spec;
    refs.events.replaceChildren(...events.map((e) => {
      const at = steps.findIndex((s) => s >= e.step);
      const tick = element("i", { title: `step ${e.step}: ${e.label}` });
      tick.style.left = `${(100 * (at < 0 ? steps.length - 1 : at)) / Math.max(1, steps.length - 1)}%`;
      return tick;
    }));
  }

  // ---- layer maps and the case's own curves --------------------------------------------------------------------
  function layerMap(part) {
    const mount = element("div", {});
    const figure = element("figure", { class: "card plot" }, element("h3", { dir: "auto" }, part.title), mount);
    if (part.caption) figure.append(element("figcaption", { dir: "auto" }, part.caption));
    refs.instruments.append(figure);
    const data = bytes(part.data);
    const [, steps, rows, columns, h = 1, w = 1] = part.shape;
    const offset = (seed, step, row, column) => (((seed * steps + step) * rows + row) * columns + column) * h * w;
    const where = { seed: 0, step: 0, frame: 0 };
    const column = (frame) => (columns === current.spec.frames || current.spec.frames < 2 ? Math.min(frame, columns - 1) : Math.round((frame * (columns - 1)) / (current.spec.frames - 1)));
    const relative = { row: ["each row's least", "its most"], step: ["least at this step", "most"] }[part.relative] || null;
    let refresh;
    if (part.shape.length === 4) {
      const value = (r, c) => data[offset(where.seed, where.step, r, c)];
      const grid = cellGrid(mount, {
        ...part, square: false,
        fill: (r, c) => (value(r, c) === 255 ? null : rgb(GLOW_TABLE[value(r, c)])),
        describe: (r, c) => `${part.yLabel} ${part.rows[r]}, ${part.xLabel} ${part.columns[c]}: ${value(r, c) === 255 ? "–" : relative ? `${Math.round(value(r, c) / 2.54)} % of its range` : `${number(part.low + (value(r, c) / 254) * (part.high - part.low))} ${part.unit}`}`,
      });
      refresh = () => { grid.recolour(); grid.mark(null, part.columnsAreFrames ? column(where.frame) : null); };
    } else {
      const tiles = element("div", { class: "tiles" });
      const canvases = part.rows.map((label) => {
        const canvas = element("canvas", { role: "img", "aria-label": `${part.yLabel} ${label}` });
        tiles.append(element("div", {}, canvas, element("span", { dir: "auto" }, `${part.yLabel} ${label}`)));
        return canvas;
      });
      mount.append(tiles);
      refresh = () => canvases.forEach((canvas, r) => {
        const image = new ImageData(w, h);
        const start = offset(where.seed, where.step, r, column(where.frame));
        for (let i = 0; i < h * w; i += 1) {
          const level = data[start + i];
          image.data.set(level === 255 ? [0, 0, 0, 0] : [...GLOW_TABLE[level], 255], 4 * i);
        }
        paint(canvas, image);
      });
    }
    mount.append(scaleBar(GLOW, part.low, part.high, part.unit, relative));
    mount.dataset.layermap = part.title;
    return (grid, seed, step, frame) => {
      Object.assign(where, { seed, step, frame });
      refresh();
      mount.dataset.step = grid;
    };
  }

  function caseCurve(part) {
    const mount = element("div", { "data-curve": part.title });
    const figure = element("figure", { class: "card plot" }, element("h3", { dir: "auto" }, part.title), mount);
    if (part.caption) figure.append(element("figcaption", { dir: "auto" }, part.caption));
    refs.instruments.append(figure);
    return curvePlot(mount, part, moveTo);
  }

  // The kept step nearest to a place on the noise grid.
  function moveTo(step) {
    const { steps } = current.spec;
    let best = 0;
    steps.forEach((s, i) => { if (Math.abs(s - step) < Math.abs(steps[best] - step)) best = i; });
    go({ step: best });
  }

  // ---- choosing a case -----------------------------------------------------------------------------------------
  async function open(which) {
    stop();
    const chosen = spec.cases[which];
    const [x0, noisy, truth] = await Promise.all([
      Promise.all(chosen.x0.map(sheet)),
      chosen.noisy ? Promise.all(chosen.noisy.map(sheet)) : null,
      chosen.truth ? sheet(chosen.truth) : null,
    ]);
    const share = current ? state.step / Math.max(1, current.spec.steps.length - 1) : 0.25;
    current = { spec: chosen, x0, noisy, truth };
    state.case = which;
    state.seed = Math.min(state.seed, chosen.seeds.length - 1);
    state.step = Math.round(share * (chosen.steps.length - 1));
    state.frame = chosen.frames - 1;
    if (!truth) state.overlay = "picture";
    refs.prompt.textContent = chosen.prompt;
    refs.world.textContent = chosen.world;
    refs.world.hidden = !chosen.world;
    refs.note.textContent = chosen.note;
    refs.truthLabel.textContent = chosen.truthLabel;
    refs.truthFigure.hidden = !truth;
    refs.noisyFigure.hidden = !noisy;
    refs.screens.classList.toggle("alone", !truth && !noisy);
    refs.overlay.hidden = !truth;
    refs.overlay.querySelectorAll("input").forEach((input) => { input.checked = input.value === state.overlay; });
    refs.step.max = chosen.steps.length - 1;
    refs.frame.max = chosen.frames - 1;
    refs.step.disabled = chosen.steps.length < 2;
    refs.frame.disabled = chosen.frames < 2;
    refs.playStep.disabled = chosen.steps.length < 2;
    refs.playFrame.disabled = chosen.frames < 2;
    refs.seeds.hidden = chosen.seeds.length < 2;
    refs.seeds.querySelectorAll("label").forEach((label) => label.remove());
    chosen.seeds.forEach((name, seed) => {
      const input = element("input", { type: "radio", name: `seed-${index}`, value: seed });
      input.addEventListener("change", () => go({ seed }));
      const verdict = chosen.scores ? element("i", { class: `verdict ${chosen.scores[seed] >= 1 ? "yes" : "no"}` }) : "";
      const label = element("label", {}, input, element("span", { class: "thumb" }, element("canvas", { "aria-hidden": "true" })), element("span", { class: "name", dir: "auto" }, verdict, name));
      if (chosen.outcomes) label.append(element("span", { class: "unseen" }, `, ends: ${chosen.outcomes[seed]}`));
      refs.seeds.append(label);
    });
    refs.instruments.replaceChildren();
    followers = [...chosen.maps.map(layerMap), ...chosen.curves.map(caseCurve)];
    show();
    root.dataset.ready = "true";
  }

  async function caseButtons() {
    refs.cases.hidden = spec.cases.length < 2;
    for (const [i, one] of spec.cases.entries()) {
      const input = element("input", { type: "radio", name: `case-${index}`, value: i, checked: i === 0 });
      input.addEventListener("change", () => { activeScrubber = index; open(i); });
      const canvas = element("canvas", { "aria-hidden": "true" });
      const seeds = element("span", { class: "dots", "aria-hidden": "true" }, ...(one.scores || []).slice(0, 12).map((s) => element("i", { class: `verdict ${s >= 1 ? "yes" : "no"}` })));
      const words = element("span", { class: "words" }, element("span", { class: "name", dir: "auto" }, one.name), seeds);
      if (one.scores) words.append(element("span", { class: "unseen" }, `, ${one.scores.filter((s) => s >= 1).length} of ${one.scores.length} seeds solved`));
      refs.cases.append(element("label", {}, input, element("span", { class: "thumb" }, canvas), words));
      sheet(one.truth || one.x0[0]).then((data) => paint(canvas, cut(data, one.truth ? 0 : one.steps.length - 1, one.frames - 1, one.width, one.height)));
    }
  }

  // ---- playing and keys ----------------------------------------------------------------------------------------
  function stop() {
    if (timer) clearInterval(timer.id);
    timer = null;
    for (const button of [refs.playStep, refs.playFrame]) button.setAttribute("aria-pressed", "false");
  }

  function play(what) {
    const same = timer && timer.what === what;
    stop();
    if (same) return;
    const last = () => (what === "step" ? current.spec.steps.length : current.spec.frames) - 1;
    if (state[what] === last()) go({ [what]: 0 });
    const pace = what === "step" ? clamp(6000 / (last() + 1), 60, 320) : 160;
    const id = setInterval(() => {
      if (state[what] < last()) go({ [what]: state[what] + 1 });
      else if (what === "frame") go({ frame: 0 });
      else stop();
    }, pace);
    timer = { id, what };
    refs[what === "step" ? "playStep" : "playFrame"].setAttribute("aria-pressed", "true");
  }

  function keys(event) {
    if (!current || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowUp: { step: state.step - 1 }, ArrowDown: { step: state.step + 1 }, ArrowLeft: { frame: state.frame - 1 }, ArrowRight: { frame: state.frame + 1 }, Home: { step: 0 }, End: { step: current.spec.steps.length - 1 } };
    const control = event.target.closest("input, button");
    if (moves[event.key] && !control) go(moves[event.key]);
    else if (event.key === " " && !control) play("step");
    else if (event.key === "o" && current.truth) {
      const next = state.overlay === "ink" ? "picture" : "ink";
      refs.overlay.querySelectorAll("input").forEach((input) => { input.checked = input.value === next; });
      go({ overlay: next });
    } else if (/^[1-9]$/.test(event.key) && Number(event.key) <= current.spec.seeds.length) go({ seed: Number(event.key) - 1 });
    else return;
    event.preventDefault();
  }

  refs.step.addEventListener("input", () => { stop(); go({ step: Number(refs.step.value) }); });
  refs.frame.addEventListener("input", () => { stop(); go({ frame: Number(refs.frame.value) }); });
  refs.playStep.addEventListener("click", () => play("step"));
  refs.playFrame.addEventListener("click", () => play("frame"));
  refs.overlay.addEventListener("change", (event) => go({ overlay: event.target.value }));
  refs.sheet.addEventListener("pointerdown", (event) => { stop(); sheetCell(event); });
  refs.sheet.addEventListener("pointermove", (event) => event.buttons === 1 && event.pointerType === "mouse" && sheetCell(event));
  root.addEventListener("keydown", keys);

  return {
    moveTo,
    start() {
      caseButtons();
      open(0).then(() => whenSized(refs.sheet, drawSheet)).catch((error) => {
        root.append(element("p", { class: "card" }, `This panel could not be drawn: ${error.message}.`));
        throw error;
      });
    },
  };
}
