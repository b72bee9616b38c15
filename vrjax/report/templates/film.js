// Videos in a scrubber: each picture is cut from a sheet, and may be compared with the truth, pixel by pixel.
const INK = { threshold: 0.22, floor: 0.06, wrong: [255, 45, 150], missing: [0, 190, 235] };

function paint(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// What a scrubber asks of the kind of its cases: see scrubber.js.
function filmLook(panel) {
  const { refs, state, go } = panel;
  const scratch = document.createElement("canvas");
  state.overlay = "picture";
  let film = null;

  const distance = (a, i, b, j) => Math.max(Math.abs(a[i] - b[j]), Math.abs(a[i + 1] - b[j + 1]), Math.abs(a[i + 2] - b[j + 2])) / 255;

  // The guess with the chosen overlay: `wrong ink` is what the guess draws where the truth leaves the first frame
  // alone; `missing ink` is where the truth draws and the guess differs.
  function guess({ seed, step, frame, overlay }) {
    const { width, height } = film.spec;
    const image = cut(film.x0[seed], step, frame, width, height);
    if (overlay === "picture" || !film.truth) return image;
    const pixels = image.data;
    const truth = cut(film.truth, 0, frame, width, height).data;
    const first = cut(film.truth, 0, 0, width, height).data;
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

  function image(what, at) {
    const { width, height } = film.spec;
    if (what === "truth") return cut(film.truth, 0, at.frame, width, height);
    return what === "noisy" ? cut(film.noisy[at.seed], at.step, at.frame, width, height) : guess(at);
  }

  // Dragging over the picture moves through the steps, a tap plays; up and down still scroll the page.
  let drag = null;
  refs.big.addEventListener("pointerdown", (event) => {
    const playing = panel.playing();
    panel.stop();
    refs.big.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, from: state[panel.main()], moved: false, playing };
  });
  refs.big.addEventListener("pointermove", (event) => {
    if (!drag || event.buttons !== 1) return;
    const count = panel.main() === "step" ? film.spec.steps.length : film.spec.frames;
    const by = Math.round(((event.clientX - drag.x) / refs.big.clientWidth) * count);
    drag.moved = drag.moved || Math.abs(event.clientX - drag.x) > 6;
    if (drag.moved) go({ [panel.main()]: drag.from + by });
  });
  refs.big.addEventListener("pointerup", () => { if (drag && !drag.moved && !drag.playing) panel.play(panel.main()); drag = null; });
  refs.big.addEventListener("pointercancel", () => { drag = null; });
  refs.overlay.addEventListener("change", (event) => go({ overlay: event.target.value }));

  return {
    pace: 160,
    plays: null,
    opens: (spec) => ({ seed: 0, step: spec.steps[0], frame: spec.frames - 1 }),
    async open(spec) {
      const [x0, noisy, truth] = await Promise.all([
        Promise.all(spec.x0.map(sheet)),
        spec.noisy ? Promise.all(spec.noisy.map(sheet)) : null,
        spec.truth ? sheet(spec.truth) : null,
      ]);
      return () => {
        film = { spec, x0, noisy, truth };
        if (!truth) state.overlay = "picture";
        refs.overlay.hidden = !truth;
        refs.overlay.querySelectorAll("input").forEach((input) => { input.checked = input.value === state.overlay; });
      };
    },
    paint: (canvas, what, at) => paint(canvas, image(what, at)),
    put(context, left, top, wide, tall, what, at) {
      const one = image(what, at);
      paint(scratch, one);
      context.imageSmoothingEnabled = one.width > wide * (window.devicePixelRatio || 1);
      context.drawImage(scratch, left, top, wide, tall);
    },
    preview: (spec, canvas) => sheet(spec.truth || spec.x0[0]).then((data) => paint(canvas, cut(data, spec.truth ? 0 : spec.steps.length - 1, spec.frames - 1, spec.width, spec.height))),
    told: () => "",
    shown() {
      refs.overlayKey.replaceChildren();
      if (state.overlay === "ink") refs.overlayKey.append(element("i", { class: "swatch wrong" }), "drawn where the truth draws nothing ", element("i", { class: "swatch missing" }), "not drawn, or drawn otherwise");
      if (state.overlay === "difference") refs.overlayKey.append("Largest colour difference from the truth: dark is none, bright is all.");
      panel.root.dataset.overlay = state.overlay;
    },
    key(event, control, anywhere) {
      if (event.key !== "o" || anywhere || !film.truth) return false;
      const next = state.overlay === "ink" ? "picture" : "ink";
      refs.overlay.querySelectorAll("input").forEach((input) => { input.checked = input.value === next; });
      go({ overlay: next });
      return true;
    },
  };
}
