// Motions in a scrubber: bodies in perspective on a plain canvas. The formulas of the view are those of skeletons.py.
const SIDES = { left: "--left", right: "--right-limb", centre: "--ink" };
const VIEWS = { corner: [35, 12], front: [0, 4], side: [90, 4], top: [0, 90] };
const AWAY = 5; // radii from the centre to the eye
const NEAR = { radius: 1.05, large: 1.25, middle: 0.9 }; // of a view of one body, in metres
const HEAD = [15, 0.085]; // the joint, and the radius of the disc on it in metres
const AHEAD = 0.2; // s: a velocity is drawn as the way that it goes in this time
const TOES = [10, 11];
const STANCE = ["in the air", "stands", "slides"];

// The eye looks at `centre` from the azimuth and elevation: place(x, y, z) -> [px, py], null for what is not before it.
function eye({ centre, radius, azimuth, elevation, zoom = 1 }, wide, tall) {
  const [a, e] = [(azimuth * Math.PI) / 180, (elevation * Math.PI) / 180];
  const [ca, sa, ce, se] = [Math.cos(a), Math.sin(a), Math.cos(e), Math.sin(e)];
  const away = AWAY * radius;
  const pixels = (zoom * Math.min(wide, tall)) / (2 * radius); // a metre at the centre
  return {
    pixels,
    depth: (x, y, z) => away - ((x - centre[0]) * sa * ce + (y - centre[1]) * ca * ce + (z - centre[2]) * se),
    place(x, y, z) {
      const [dx, dy, dz] = [x - centre[0], y - centre[1], z - centre[2]];
      const depth = away - (dx * sa * ce + dy * ca * ce + dz * se);
      if (depth <= 0.1 * away) return null;
      const scale = (pixels * away) / depth;
      return [wide / 2 + scale * (dy * sa - dx * ca), tall / 2 - scale * (dz * ce - dx * sa * se - dy * ca * se)];
    },
  };
}

// Joints of a case: pose("guess", seed, step, frame) -> 22 x [x, y, z]; foot(seed, step, frame, which) -> 0, 1 or 2.
function joints(spec) {
  const read = (text) => { const raw = bytes(text); return new DataView(raw.buffer); };
  const given = { guess: read(spec.joints), truth: spec.truth && read(spec.truth) };
  const feet = bytes(spec.feet);
  const kept = spec.steps.length;
  const { frames, middle, unit } = spec;
  const row = (seed, step, frame) => (seed * kept + step) * frames + frame;
  return {
    pose(what, seed, step, frame) {
      const start = what === "truth" ? frame : row(seed, step, frame);
      return Array.from({ length: 22 }, (_, j) => [0, 1, 2].map((k) => middle[k] + unit * given[what].getInt16(2 * (66 * start + 3 * j + k), true)));
    },
    foot: (seed, step, frame, which) => feet[2 * row(seed, step, frame) + which],
  };
}

function bodyLook(panel) {
  const { root, refs, state, compare, still } = panel;
  const view = { azimuth: VIEWS.corner[0], elevation: VIEWS.corner[1], zoom: 1 };
  const shows = { seeds: true, truth: true, contacts: true, velocity: false, follow: true };
  let spec = null;
  let held = null;
  let tones = {}; // the theme's colours, looked up once: a sheet has thousands of bones
  const tone = (name) => { tones[name] ??= theme(name); return tones[name]; };
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { tones = {}; });

  // ---- drawing: metres in, strokes out ---------------------------------------------------------------------------
  function line(context, at, points, colour, width, { alpha = 1, closed = false, filled = false } = {}) {
    const places = points.map((p) => at.place(...p));
    if (places.some((p) => p === null || Math.abs(p[0]) > 1e5 || Math.abs(p[1]) > 1e5)) return;
    context.globalAlpha = alpha;
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    places.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (closed) context.closePath();
    if (filled) context.fill();
    else context.stroke();
    context.globalAlpha = 1;
  }

  const ring = ([x, y], radius) => Array.from({ length: 24 }, (_, i) => [x + radius * Math.cos((i * Math.PI) / 12), y + radius * Math.sin((i * Math.PI) / 12), spec.floor]);

  const cellOf = (radius) => (radius > 8 ? 2 : radius > 1.2 ? 1 : 0.5); // of the floor's grid, in metres

  function ground(context, at, { centre, radius }) {
    const cell = cellOf(radius);
    const reach = Math.ceil((1.15 * radius) / cell);
    const [cx, cy] = [Math.round(centre[0] / cell), Math.round(centre[1] / cell)];
    for (let i = -reach; i <= reach; i += 1) {
      line(context, at, [[(cx + i) * cell, (cy - reach) * cell, spec.floor], [(cx + i) * cell, (cy + reach) * cell, spec.floor]], tone("--grid"), 1);
      line(context, at, [[(cx - reach) * cell, (cy + i) * cell, spec.floor], [(cx + reach) * cell, (cy + i) * cell, spec.floor]], tone("--grid"), 1);
    }
  }

  // The world's axes at its origin, on the floor.
  function axes(context, at) {
    const soft = tone("--ink-soft");
    context.font = `12px ${tone("--sans")}`;
    for (const [name, x, y, z] of [["x", 0.5, 0, 0], ["y", 0, 0.5, 0], ["z", 0, 0, 0.5]]) {
      line(context, at, [[0, 0, spec.floor], [x, y, spec.floor + z]], soft, 1.5);
      const end = at.place(1.15 * x, 1.15 * y, spec.floor + 1.15 * z);
      if (!end) continue;
      context.fillStyle = soft;
      context.fillText(name, end[0] - 3, end[1] + 4);
    }
  }

  // colour: of all bones (a ghost); else every side has its own. Bones that are farther from the eye are drawn first.
  function skeleton(context, at, pose, { colour = null, alpha = 1 } = {}) {
    const width = Math.max(1.5, (colour ? 0.022 : 0.036) * at.pixels);
    const far = spec.bones.map(([a, b, side]) => [at.depth(...pose[a].map((v, k) => (v + pose[b][k]) / 2)), a, b, side]).sort((p, q) => q[0] - p[0]);
    context.lineCap = context.lineJoin = "round";
    for (const [, a, b, side] of far) line(context, at, [pose[a], pose[b]], colour || tone(SIDES[side]), width, { alpha });
    const head = at.place(...pose[HEAD[0]]);
    if (!head) return;
    context.globalAlpha = alpha;
    context.fillStyle = colour || tone(SIDES.centre);
    context.beginPath();
    context.arc(...head, HEAD[1] * at.pixels, 0, 2 * Math.PI);
    context.fill();
    context.globalAlpha = 1;
  }

  function shadow(context, at, pose) {
    for (const [a, b] of spec.bones) line(context, at, [[...pose[a].slice(0, 2), spec.floor], [...pose[b].slice(0, 2), spec.floor]], tone("--ink"), 0.03 * at.pixels, { alpha: 0.1 });
  }

  // Shape and colour both say it: a foot that stands has a full disc, one that slides an open ring with a wider one.
  function stances(context, at, pose, { seed, step, frame }) {
    TOES.forEach((joint, which) => {
      const does = held.foot(seed, step, frame, which);
      if (does === 1) line(context, at, ring(pose[joint], 0.09), tone("--yes"), 1, { closed: true, filled: true, alpha: 0.75 });
      if (does === 2) for (const radius of [0.08, 0.15]) line(context, at, ring(pose[joint], radius), tone("--no"), 2, { closed: true });
    });
  }

  // From the frame before to the frame after, metres a second; at the ends only what there is.
  function velocity(what, at) {
    const [from, to] = [Math.max(0, at.frame - 1), Math.min(spec.frames - 1, at.frame + 1)];
    const [a, b] = [from, to].map((frame) => held.pose(what, at.seed, at.step, frame));
    const time = Math.max(1, to - from) / spec.fps;
    return b.map((p, j) => p.map((v, k) => (v - a[j][k]) / time));
  }

  function arrows(context, at, pose, speeds) {
    pose.forEach((p, j) => {
      const tip = p.map((v, k) => v + AHEAD * speeds[j][k]);
      const [a, b] = [at.place(...p), at.place(...tip)];
      if (!a || !b || Math.hypot(b[0] - a[0], b[1] - a[1]) < 4) return;
      line(context, at, [p, tip], tone("--lamp"), 2);
      const turn = Math.atan2(b[1] - a[1], b[0] - a[0]);
      context.beginPath();
      const barb = Math.min(6, 0.05 * at.pixels);
      for (const side of [2.6, -2.6]) {
        context.moveTo(b[0], b[1]);
        context.lineTo(b[0] + barb * Math.cos(turn + side), b[1] + barb * Math.sin(turn + side));
      }
      context.stroke();
    });
  }

  const near = (pose, radius) => ({ centre: [pose[0][0], pose[0][1], spec.floor + NEAR.middle], radius });

  // A small picture: one body from near, on a square of floor; never from straight above, where poses look alike.
  function small(context, wide, tall, what, where) {
    const pose = held.pose(what, where.seed, where.step, where.frame);
    const { centre, radius } = near(pose, NEAR.radius);
    const at = eye({ ...view, elevation: Math.min(30, view.elevation), zoom: 1, centre, radius }, wide, tall);
    context.fillStyle = tone("--well");
    context.fillRect(0, 0, wide, tall);
    line(context, at, [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]].map(([x, y]) => [centre[0] + x, centre[1] + y, spec.floor]), tone("--grid"), 1, { closed: true });
    skeleton(context, at, pose);
  }

  function large(context, wide, tall, what, where) {
    const pose = held.pose(what, where.seed, where.step, where.frame);
    const scene = shows.follow ? near(pose, NEAR.large) : spec.view;
    const at = eye({ ...view, centre: scene.centre, radius: scene.radius }, wide, tall);
    context.fillStyle = tone("--well");
    context.fillRect(0, 0, wide, tall);
    ground(context, at, scene);
    axes(context, at);
    const way = Array.from({ length: spec.frames }, (_, frame) => held.pose(what, where.seed, where.step, frame)[0]);
    line(context, at, way.map(([x, y]) => [x, y, spec.floor]), tone("--lamp"), 1.5, { alpha: 0.8 });
    shadow(context, at, pose);
    const mine = what === "guess";
    if (mine && shows.contacts) stances(context, at, pose, where);
    if (mine && shows.truth && spec.truth) skeleton(context, at, held.pose("truth", 0, 0, where.frame), { colour: tone("--truth"), alpha: 0.6 });
    if (mine && shows.seeds && !compare) spec.seeds.forEach((_, seed) => seed !== where.seed && skeleton(context, at, held.pose("guess", seed, where.step, where.frame), { colour: tone("--null"), alpha: 0.4 }));
    skeleton(context, at, pose);
    if (shows.velocity && (mine || compare)) arrows(context, at, pose, velocity(what, where));
  }

  function paint(canvas, what, where) {
    const big = what !== "seed";
    const wide = canvas.clientWidth || 76;
    const tall = Math.round(canvas === refs.big ? 0.78 * wide : wide);
    const ratio = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [Math.round(wide * ratio), Math.round(tall * ratio)];
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    (big ? large : small)(context, wide, tall, big ? what : "guess", where);
  }

  // ---- turning ----------------------------------------------------------------------------------------------------
  function turn(to) {
    if (to.azimuth !== undefined) view.azimuth = ((((to.azimuth + 180) % 360) + 360) % 360) - 180;
    if (to.elevation !== undefined) view.elevation = clamp(to.elevation, -20, 90);
    if (to.zoom !== undefined) view.zoom = clamp(to.zoom, 0.4, 8);
    panel.show();
  }
  const restart = () => turn({ azimuth: VIEWS.corner[0], elevation: VIEWS.corner[1], zoom: 1 });

  // A mouse turns and tilts; one finger turns, up and down still scroll the page; two fingers zoom. A tap plays.
  const pointers = new Map();
  let drag = null;
  const spread = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  const surface = compare ? refs.seeds : refs.big;
  surface.addEventListener("pointerdown", (event) => {
    if (event.target.tagName !== "CANVAS") return;
    const { target } = event;
    target.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    drag = { x: event.clientX, y: event.clientY, from: { ...view }, moved: pointers.size > 1, apart: pointers.size > 1 ? spread() : 0, wide: target.clientWidth };
  });
  surface.addEventListener("pointermove", (event) => {
    if (!drag || !pointers.has(event.pointerId)) return;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pointers.size > 1) {
      turn({ zoom: (drag.from.zoom * spread()) / Math.max(1, drag.apart) });
      return;
    }
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    drag.moved = drag.moved || Math.hypot(dx, dy) > 6;
    if (drag.moved) turn({ azimuth: drag.from.azimuth - (dx / drag.wide) * 220, elevation: drag.from.elevation + (dy / drag.wide) * 150 });
  });
  for (const name of ["pointerup", "pointercancel"]) {
    surface.addEventListener(name, (event) => {
      if (!pointers.delete(event.pointerId)) return;
      if (name === "pointerup" && drag && !drag.moved && !compare) panel.play("frame");
      drag = null;
    });
  }
  surface.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // without it the page scrolls
    event.preventDefault();
    turn({ zoom: view.zoom * Math.exp(-event.deltaY / 200) });
  }, { passive: false });

  refs.views.addEventListener("click", (event) => {
    const chosen = VIEWS[event.target.value];
    if (chosen) turn({ azimuth: chosen[0], elevation: chosen[1] });
    else if (event.target.value) turn({ zoom: view.zoom * (event.target.value === "in" ? 1.25 : 0.8) });
  });
  const switches = [...refs.shows.querySelectorAll("input")];
  function toggle(name, on = !shows[name]) {
    shows[name] = on;
    panel.show();
  }
  refs.shows.addEventListener("change", (event) => toggle(event.target.value, event.target.checked));

  return {
    plays: "frame",
    get pace() { return 1000 / spec.fps; },
    opens: (one) => ({ seed: 0, step: one.steps[one.steps.length - 1], frame: 0 }),
    async open(one) {
      const read = joints(one);
      return () => {
        [spec, held] = [one, read];
        switches.forEach((input) => { input.closest("label").hidden = (input.value === "truth" && !one.truth) || (input.value === "seeds" && (compare || one.seeds.length < 2)); });
      };
    },
    paint,
    put(context, left, top, wide, tall, what, where) {
      context.save();
      context.beginPath();
      context.rect(left, top, wide, tall);
      context.clip();
      context.translate(left, top);
      small(context, wide, tall, what === "truth" ? "truth" : "guess", where);
      context.restore();
    },
    preview(one, canvas) {
      const [kept, read] = [[spec, held], joints(one)];
      [spec, held] = [one, read];
      paint(canvas, "seed", { seed: 0, step: one.steps.length - 1, frame: one.frames >> 1 });
      [spec, held] = kept;
    },
    told({ seed, step, frame }) {
      const speed = Math.hypot(...velocity("guess", { seed, step, frame })[0]);
      return `; left foot ${STANCE[held.foot(seed, step, frame, 0)]}, right foot ${STANCE[held.foot(seed, step, frame, 1)]}; pelvis ${speed.toFixed(2)} metres a second`;
    },
    shown() {
      const key = (name, words, on = true) => (on ? [element("span", {}, element("i", { class: `limb ${name}` }), words)] : []);
      const speed = Math.hypot(...velocity("guess", state)[0]);
      refs.overlayKey.replaceChildren(
        ...key("left", "left"), ...key("right", "right"), ...key("truth", spec.truthLabel, shows.truth && Boolean(spec.truth)),
        ...key("others", still ? "other motions" : "other seeds", shows.seeds && !compare && spec.seeds.length > 1),
        ...key("stands", "foot stands", shows.contacts), ...key("slides", "foot slides", shows.contacts),
        ...key("goes", `way in ${AHEAD} s`, shows.velocity), element("span", { class: "speed" }, `pelvis ${speed.toFixed(2)} m/s`),
        element("span", {}, `grid ${cellOf(shows.follow ? NEAR.large : spec.view.radius)} m`),
      );
      switches.forEach((input) => { input.checked = shows[input.value]; });
      const on = Object.keys(shows).filter((name) => shows[name]).join(" ");
      Object.assign(root.dataset, { azimuth: view.azimuth.toFixed(1), elevation: view.elevation.toFixed(1), zoom: view.zoom.toFixed(3), shows: on });
    },
    key(event, control, anywhere) {
      const inside = event.target.closest("[data-ref=view]");
      const turns = { ArrowLeft: { azimuth: view.azimuth - 10 }, ArrowRight: { azimuth: view.azimuth + 10 }, ArrowUp: { elevation: view.elevation + 5 }, ArrowDown: { elevation: view.elevation - 5 } };
      if (turns[event.key] && (inside || (event.shiftKey && !control))) turn(turns[event.key]);
      else if (anywhere) return false;
      else if (inside && "+=-".includes(event.key)) turn({ zoom: view.zoom * (event.key === "-" ? 0.8 : 1.25) });
      else if (inside && event.key === "0") restart();
      else {
        const name = { g: "seeds", t: "truth", c: "contacts", v: "velocity", f: "follow" }[event.key];
        if (!name || switches.find((input) => input.value === name).closest("label").hidden) return false;
        toggle(name);
      }
      return true;
    },
  };
}
