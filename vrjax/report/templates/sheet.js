// The contact sheet: one column a step, one row a frame, so that left and right mean steps here as on the slider.
const MOST_STEPS = 12;
const MOST_FRAMES = 9;
const TALL = { right: 9, other: 6, unreadable: 2 }; // of a guess's tick: its height says what its colour says

// view() -> {spec, state, look}, or null before the case is there; go(changes).
function contactSheet(box, canvas, view, go, stop) {
  let layout = null;

  function draw() {
    const now = view();
    if (!now || !box.clientWidth) return;
    const { spec, state, look } = now;
    const { width, height, frames, steps, sigma, guesses, truth } = spec;
    const total = box.clientWidth;
    const margin = { left: 44, top: 20 + (sigma ? 15 : 0) + (guesses ? 12 : 0), gap: 3 };
    const columns = pick(steps.length, clamp(Math.floor((total - margin.left) / 40) - (truth ? 1 : 0), 3, MOST_STEPS), state.step);
    const rows = pick(frames, MOST_FRAMES, state.frame);
    const apart = truth ? 10 : 0;
    const lines = columns.length + (truth ? 1 : 0);
    const size = Math.max(8, Math.min(84, (total - margin.left - apart) / lines - margin.gap));
    const tall = (size * height) / width;
    const full = margin.top + rows.length * (tall + margin.gap) + 2;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(total * ratio);
    canvas.height = Math.round(full * ratio);
    canvas.style.height = `${full}px`;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.textBaseline = "middle";
    const [ink, strong, lamp] = ["--ink-soft", "--ink", "--lamp"].map(theme);
    const x = (c) => margin.left + c * (size + margin.gap) + (c >= columns.length ? apart : 0);
    const y = (r) => margin.top + r * (tall + margin.gap);
    const write = (text, px, py, align, lit = false) => {
      context.font = `${lit ? "600 " : ""}11px ${theme("--sans")}`;
      context.fillStyle = lit ? strong : ink;
      context.textAlign = align;
      context.fillText(text, px, py);
    };
    const put = (what, at, left, top) => {
      look.put(context, left, top, size, tall, what, { ...state, ...at });
      context.lineWidth = 1;
      context.strokeStyle = theme("--edge");
      context.strokeRect(left - 0.5, top - 0.5, size + 1, tall + 1);
    };
    const lit = columns.indexOf(state.step);
    const row = rows.indexOf(state.frame);
    context.fillStyle = theme("--lamp-soft");
    context.fillRect(x(lit) - 2, 0, size + 4, full);
    write("step", 0, 9, "left");
    if (sigma) write("noise σ", 0, 24, "left");
    columns.forEach((step, c) => {
      write(String(steps[step]), x(c) + size / 2, 9, "center", c === lit);
      if (sigma && size >= 24) write(sigma[step].toFixed(2), x(c) + size / 2, 24, "center", c === lit);
      if (guesses) {
        const kind = guesses[state.seed][step].kind;
        context.fillStyle = theme(`--${kind}`);
        context.fillRect(x(c) + size / 2 - 4, margin.top - 3 - TALL[kind], 8, TALL[kind]);
      }
      rows.forEach((frame, r) => put("seed", { step, frame }, x(c), y(r)));
    });
    if (truth) {
      write("truth", x(columns.length) + size / 2, 9, "center");
      rows.forEach((frame, r) => put("truth", { frame }, x(columns.length), y(r)));
    }
    rows.forEach((frame, r) => write(`${r ? "" : "frame "}${frame}`, margin.left - 7, y(r) + tall / 2, "right", r === row));
    for (const [wide, tone] of [[5, theme("--card")], [3, lamp]]) {
      context.lineWidth = wide;
      context.strokeStyle = tone;
      context.strokeRect(x(lit) - 1, y(row) - 1, size + 2, tall + 2);
    }
    layout = { rows, columns, margin, size, tall };
  }

  function to(event) {
    if (!layout) return;
    const area = box.getBoundingClientRect();
    const c = Math.floor((event.clientX - area.left - layout.margin.left) / (layout.size + layout.margin.gap));
    const r = Math.floor((event.clientY - area.top - layout.margin.top) / (layout.tall + layout.margin.gap));
    const changes = {};
    if (c >= 0 && c < layout.columns.length) changes.step = layout.columns[c];
    if (r >= 0 && r < layout.rows.length) changes.frame = layout.rows[r];
    if (c >= 0) go(changes);
  }

  box.addEventListener("pointerdown", (event) => { stop(); box.setPointerCapture(event.pointerId); to(event); });
  box.addEventListener("pointermove", (event) => event.buttons === 1 && to(event));
  return draw;
}
