// The scrubber: one case, one seed, one step, one frame in view; everything on the bench follows. How a case looks is
// its look's: `filmLook` of videos, `bodyLook` of motions. A look has
//   open(spec) -> Promise of a function that brings the case into view, opens(spec) -> where it opens first;
//   paint(canvas, what, at), put(context, left, top, wide, tall, what, at), what being "guess", "seed", "truth", "noisy";
//   preview(spec, canvas), told(at) -> words, shown(), key(event, control, anywhere) -> whether it was its own;
//   pace, milliseconds a frame, and plays, what the space key and a tap play ("frame"), null for the main slider.
const WORDS = { right: "right", unreadable: "unreadable" }; // what a guess is; the case names "other"

function scrubberPanel(root, spec, index) {
  const refs = {};
  for (const node of root.querySelectorAll("[data-ref]")) refs[node.dataset.ref] = node;
  const state = { case: 0, seed: 0, step: 0, frame: 0 };
  let current = null; // {spec} of the case in view
  let followers = []; // its maps and curves
  let timer = null;
  let opening = 0; // counts the cases that were asked for: pictures that come late are of no use
  const compare = root.classList.contains("compare");
  const still = root.classList.contains("still"); // motions without steps: nobody's guesses
  const panel = { root, refs, state, compare, still, go, show, stop, play, main, playing: () => timer !== null };
  const look = (spec.bodies ? bodyLook : filmLook)(panel);

  // ---- everything that depends on where we are -----------------------------------------------------------------

  const view = () => current && { ...current, state, look };
  const drawSheet = contactSheet(refs.sheet, refs.sheetCanvas, view, go, stop);

  function go(changes, kept = true) {
    if (!current) return;
    const { steps, frames, seeds } = current.spec;
    const before = state.seed;
    if (changes.seed !== undefined) state.seed = clamp(changes.seed, 0, seeds.length - 1);
    if (changes.step !== undefined) state.step = clamp(changes.step, 0, steps.length - 1);
    if (changes.frame !== undefined) state.frame = clamp(changes.frame, 0, frames - 1);
    if (changes.overlay !== undefined) state.overlay = changes.overlay; // of videos
    if (kept) activeScrubber = index;
    show();
    if (kept) place.write(here(), state.seed !== before);
  }

  const here = () => ({ scrubber: index, case: state.case, seed: state.seed, step: current.spec.steps[state.step], frame: state.frame });

  // What the guess in view is, in words: "other path: left, then down".
  function told(seed, step) {
    const { guesses, other } = current.spec;
    if (!guesses) return "";
    const { kind, words } = guesses[seed][step];
    return `${WORDS[kind] || other}${words ? `: ${words}` : ""}`;
  }

  function show() {
    const { steps, sigma, frames, seeds, outcomes, solved, noisy, truth, guesses } = current.spec;
    const grid = steps[state.step];
    if (!compare) look.paint(refs.big, "guess", state);
    if (truth && !compare) look.paint(refs.truth, "truth", state);
    if (noisy && !compare) look.paint(refs.noisy, "noisy", state);
    const noise = sigma ? `, noise level ${number(sigma[state.step])}` : "";
    const guess = guesses ? `; this guess: ${told(state.seed, state.step)}` : "";
    const where = `${still ? "" : `step ${grid}${noise}, `}frame ${state.frame}${guess}${look.told(state)}`;
    refs.big.setAttribute("aria-label", `${still ? `${seeds[state.seed]},` : "The model's guess at"} ${where}`);
    if (still) refs.bigLabel.textContent = seeds[state.seed];
    refs.truth.setAttribute("aria-label", `${current.spec.truthLabel}, frame ${state.frame}`);
    refs.noisy.setAttribute("aria-label", `The noisy state at step ${grid}, frame ${state.frame}`);
    for (const [name, last] of [["step", steps.length - 1], ["frame", frames - 1]]) {
      refs[name].value = state[name];
      refs[name].style.setProperty("--at", `${(100 * state[name]) / Math.max(1, last)}%`);
    }
    refs.step.setAttribute("aria-valuetext", `step ${grid} of ${steps[steps.length - 1]}${noise}${guess}`);
    refs.frame.setAttribute("aria-valuetext", `frame ${state.frame} of ${frames - 1}`);
    refs.stepOut.replaceChildren("step ", element("b", {}, String(grid)), " ", sigma ? element("span", { class: "sigma" }, `σ ${sigma[state.step].toFixed(3)}`) : "");
    refs.frameOut.replaceChildren("frame ", element("b", {}, String(state.frame)));
    refs.outcome.hidden = !outcomes;
    if (outcomes) {
      refs.outcome.textContent = `ends: ${outcomes[state.seed]}`;
      refs.outcome.className = `chip small ${!solved ? "open" : solved[state.seed] ? "yes" : "no"}`;
    }
    if (guesses) {
      const { kind, words } = guesses[state.seed][state.step];
      refs.guess.replaceChildren(element("i", { class: `tick ${kind}` }), element("b", {}, WORDS[kind] || current.spec.other), words ? element("span", { dir: "auto" }, words) : "");
      [...refs.ticks.children].forEach((tick, i) => { tick.className = `tick ${guesses[state.seed][i].kind}${i === state.step ? " now" : ""}`; });
    }
    const events = current.spec.events.filter((e) => e.seed === null || e.seed === state.seed);
    const now = events.filter((e) => e.step === grid).map((e) => e.label);
    refs.eventLine.textContent = now.length ? `Here: ${now.join("; ")}` : "";
    refs.eventLine.hidden = !events.length;
    drawEvents(events);
    if (compare && truth) look.paint(refs.seeds.querySelector(".panel canvas"), "truth", state);
    [...refs.seeds.querySelectorAll("label canvas")].forEach((canvas, seed) => look.paint(canvas, compare ? "guess" : "seed", { ...state, seed }));
    [...refs.seeds.querySelectorAll("input")].forEach((input, seed) => { input.checked = seed === state.seed; });
    if (!timer || onScreen(refs.sheet)) drawSheet(); // a phone that plays has other things to draw; stopping shows all
    followers.forEach((follow) => follow(grid, state.seed, state.step, state.frame));
    announceStep(index, grid);
    if (!timer) refs.status.textContent = `${seeds[state.seed]}, ${where}`;
    look.shown();
    Object.assign(root.dataset, { case: state.case, seed: state.seed, step: grid, frame: state.frame });
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

  // ---- choosing a case -----------------------------------------------------------------------------------------
  // at: {seed, step (of the noise grid), frame}; what is not given is kept, but a video shows its last frame.
  async function open(which, at = {}) {
    stop();
    const asked = ++opening;
    const chosen = spec.cases[which];
    const enter = await look.open(chosen);
    if (asked !== opening) return;
    const share = current ? state.step / Math.max(1, current.spec.steps.length - 1) : 0;
    current = { spec: chosen };
    const { truth, noisy } = chosen;
    enter();
    state.case = which;
    state.seed = clamp(at.seed ?? state.seed, 0, chosen.seeds.length - 1);
    state.step = at.step === undefined ? Math.round(share * (chosen.steps.length - 1)) : nearestStep(at.step);
    state.frame = clamp(at.frame ?? (look.plays ? state.frame : chosen.frames - 1), 0, chosen.frames - 1);
    refs.cases.querySelectorAll("input").forEach((input, i) => { input.checked = i === which; });
    refs.prompt.textContent = chosen.prompt;
    refs.prompt.hidden = !chosen.prompt;
    refs.world.textContent = chosen.world;
    refs.world.hidden = !chosen.world;
    refs.note.textContent = chosen.note;
    refs.truthLabel.textContent = chosen.truthLabel;
    refs.truthFigure.hidden = !truth;
    refs.noisyFigure.hidden = !noisy;
    refs.screens.classList.toggle("alone", !truth && !noisy);
    for (const [name, count] of [["step", chosen.steps.length], ["frame", chosen.frames]]) {
      refs[name].max = count - 1;
      for (const node of [refs[name].closest("label"), refs[name === "step" ? "playStep" : "playFrame"], refs[`${name}Out`]]) node.hidden = count < 2;
    }
    refs.sheetFigure.hidden = still || (compare && chosen.steps.length < 2);
    refs.guessRow.hidden = !chosen.guesses;
    refs.ticks.replaceChildren(...(chosen.guesses ? chosen.steps.map((_, i) => {
      const tick = element("i", {});
      tick.style.left = `${(100 * i) / Math.max(1, chosen.steps.length - 1)}%`;
      return tick;
    }) : []));
    refs.otherName.textContent = chosen.other;
    refs.seeds.style.setProperty("--panels", chosen.seeds.length + (truth ? 1 : 0));
    refs.seeds.style.setProperty("--panel", `${Math.round(clamp(140 * Math.sqrt(chosen.width / chosen.height), 140, 440))}px`);
    refs.seeds.hidden = chosen.seeds.length < 2 && !compare;
    refs.seeds.querySelectorAll("label, .panel").forEach((label) => label.remove());
    if (compare && truth) refs.seeds.append(element("figure", { class: "panel" }, element("canvas", { role: "img", "aria-label": chosen.truthLabel }), element("figcaption", { dir: "auto" }, chosen.truthLabel)));
    chosen.seeds.forEach((name, seed) => {
      const input = element("input", { type: "radio", name: `seed-${index}`, value: seed });
      input.addEventListener("change", () => go({ seed }));
      const verdict = chosen.solved ? element("i", { class: `verdict ${chosen.solved[seed] ? "yes" : "no"}` }) : "";
      const label = element("label", {}, input, element("span", { class: "thumb" }, element("canvas", { "aria-hidden": "true" })), element("span", { class: "name", dir: "auto" }, verdict, name));
      if (chosen.outcomes) label.append(element("span", { class: compare ? "outcome" : "unseen", dir: "auto" }, compare ? chosen.outcomes[seed] : `, ends: ${chosen.outcomes[seed]}`));
      refs.seeds.append(label);
    });
    refs.instruments.replaceChildren();
    followers = [...chosen.maps.map(layerMap), ...chosen.curves.map(caseCurve)];
    root.dataset.ready = "true"; // before it is drawn: what is not laid out has no size
    show();
  }

  function nearestStep(step) {
    const { steps } = current.spec;
    let best = 0;
    steps.forEach((s, i) => { if (Math.abs(s - step) < Math.abs(steps[best] - step)) best = i; });
    return best;
  }

  // The kept step nearest to a place on the noise grid.
  const moveTo = (step) => current && go({ step: nearestStep(step) });

  async function caseButtons() {
    refs.cases.hidden = spec.cases.length < 2;
    for (const [i, one] of spec.cases.entries()) {
      const input = element("input", { type: "radio", name: `case-${index}`, value: i, checked: i === 0 });
      input.addEventListener("change", async () => {
        activeScrubber = index;
        await open(i);
        if (state.case === i) place.write(here(), true);
      });
      const canvas = element("canvas", { "aria-hidden": "true" });
      const seeds = element("span", { class: "dots", "aria-hidden": "true" }, ...(one.solved || []).slice(0, 12).map((s) => element("i", { class: `verdict ${s ? "yes" : "no"}` })));
      const words = element("span", { class: "words" }, element("span", { class: "name", dir: "auto" }, one.name), seeds);
      if (one.solved) words.append(element("span", { class: "unseen" }, `, ${one.solved.filter(Boolean).length} of ${one.solved.length} solved`));
      refs.cases.append(element("label", {}, input, element("span", { class: "thumb" }, canvas), words));
      look.preview(one, canvas);
    }
  }

  // ---- playing and keys ----------------------------------------------------------------------------------------
  function stop() {
    if (!timer) return;
    clearInterval(timer.id);
    timer = null;
    for (const button of [refs.playStep, refs.playFrame]) button.setAttribute("aria-pressed", "false");
    if (current) show();
  }

  // once: the first showing, which moves nothing but the picture and ends with the last step (or frame).
  function play(what, once = false) {
    const same = timer && timer.what === what;
    stop();
    if (same) return;
    const last = () => (what === "step" ? current.spec.steps.length : current.spec.frames) - 1;
    if (last() < 1) return;
    if (once || state[what] === last()) go({ [what]: 0 }, !once);
    const pace = what === "step" ? clamp(4500 / (last() + 1), 60, 320) : look.pace;
    const id = setInterval(() => {
      if (state[what] < last()) go({ [what]: state[what] + 1 }, !once);
      else if (what === "frame" && !once) go({ frame: 0 });
      else stop();
    }, pace);
    timer = { id, what };
    refs[what === "step" ? "playStep" : "playFrame"].setAttribute("aria-pressed", "true");
  }

  function main() {
    return current.spec.steps.length > 1 ? "step" : "frame";
  }

  // anywhere: no control has the focus, so only keys that do not type and do not scroll this page are taken.
  function keys(event, anywhere = false) {
    if (!current || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const last = current.spec.steps.length - 1;
    const moves = { ArrowLeft: { step: state.step - 1 }, ArrowRight: { step: state.step + 1 }, Home: { step: 0 }, End: { step: last } };
    if (!anywhere) Object.assign(moves, { ArrowUp: { frame: state.frame - 1 }, ArrowDown: { frame: state.frame + 1 } });
    if (main() === "frame") Object.assign(moves, { ArrowLeft: { frame: state.frame - 1 }, ArrowRight: { frame: state.frame + 1 }, Home: { frame: 0 }, End: { frame: current.spec.frames - 1 } });
    const control = event.target.closest("input, button, summary, a, [tabindex]:not([data-ref=sheet], [data-ref=view])");
    if (look.key(event, control, anywhere)) {
      event.preventDefault();
    } else if (moves[event.key] && !control) {
      stop();
      go(moves[event.key]);
    } else if (event.key === " " && !control) play(look.plays || main());
    else if (anywhere) return;
    else if (/^[1-9]$/.test(event.key) && Number(event.key) <= current.spec.seeds.length) go({ seed: Number(event.key) - 1 });
    else return;
    event.preventDefault();
  }

  function onScreen(node) {
    const box = node.getBoundingClientRect();
    return box.bottom > 0 && box.top < window.innerHeight;
  }

  function inView() {
    const box = root.querySelector(".bench").getBoundingClientRect();
    return box.bottom > 80 && box.top < window.innerHeight - 80;
  }

  refs.step.addEventListener("input", () => { stop(); go({ step: Number(refs.step.value) }); });
  refs.frame.addEventListener("input", () => { stop(); go({ frame: Number(refs.frame.value) }); });
  refs.playStep.addEventListener("click", () => play("step"));
  refs.playFrame.addEventListener("click", () => play("frame"));
  root.addEventListener("keydown", keys);
  document.addEventListener("keydown", (event) => {
    if (event.target === document.body && index === activeScrubber && current && inView()) keys(event, true);
  });

  return {
    moveTo,
    // Back, forward, or another address: go where it says, or to where the page opens.
    restore(at) {
      const which = at ? clamp(at.case, 0, spec.cases.length - 1) : 0;
      const to = at ? { seed: at.seed, step: at.step, frame: at.frame ?? undefined } : look.opens(spec.cases[which]);
      if (at) activeScrubber = index;
      return open(which, to);
    },
    start(at) {
      caseButtons();
      const first = () => { if (!at && index === 0 && !window.matchMedia("(prefers-reduced-motion: reduce)").matches) play(look.plays || main(), true); };
      this.restore(at).then(() => { whenSized(root.querySelector(".stage"), () => show()); first(); }).catch((error) => {
        root.append(element("p", { class: "card" }, `This panel could not be drawn: ${error.message}.`));
        throw error;
      });
    },
  };
}
