"use strict";
// Keys become numbered events; ticks become pictures and numbers. The server decides everything, this only shows it.
const KEYS = {
  KeyW: "forward", ArrowUp: "forward", KeyS: "back", ArrowDown: "back", KeyA: "left", ArrowLeft: "left",
  KeyD: "right", ArrowRight: "right", Space: "brake",
};
const at = (id) => document.getElementById(id);
const state = { sent: 0, applied: 0, ticks: 0, missed: 0, errors: 0, open: false, digests: [], apart: [] };
const down = new Set();
let socket = null;
let views = [];

const say = (line) => { at("status").textContent = line; };
const number = (value, digits, unit) => (value === null || value === undefined ? "-" : value.toFixed(digits) + " " + unit);

function send(kind, value) {
  if (!state.open) return false;
  state.sent += 1;
  socket.send(JSON.stringify({ n: state.sent, kind, value }));
  at("sent").textContent = String(state.sent);
  return true;
}

// Two keys may mean one command: it is up when both are.
const holds = (command) => [...down].some((code) => KEYS[code] === command);

function press(code) {
  if (down.has(code)) return;
  const already = holds(KEYS[code]);
  if (already || send("down", KEYS[code])) down.add(code);
}

function release(code) {
  if (!down.delete(code)) return;
  if (!holds(KEYS[code])) send("up", KEYS[code]);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const typing = event.target instanceof HTMLElement && ["SELECT", "BUTTON"].includes(event.target.tagName);
  if (event.code === "KeyR") {
    if (!event.repeat) send("reset", "");
    event.preventDefault();
  } else if (event.code in KEYS && !typing) {
    if (!event.repeat) press(event.code);
    event.preventDefault();
  }
});
document.addEventListener("keyup", (event) => { if (event.code in KEYS) release(event.code); });
// Who looks elsewhere lets go: no key stays down unseen.
window.addEventListener("blur", () => { for (const code of [...down]) release(code); });

at("reset").addEventListener("click", () => send("reset", ""));
at("camera").addEventListener("change", (event) => { send("camera", event.target.value); event.target.blur(); });

function element(tag, parent, text) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}

function hello(told) {
  at("drive").textContent = told.drive;
  at("worlds").replaceChildren();
  views = told.sides.map((side) => {
    const figure = element("figure", at("worlds"));
    element("figcaption", figure, side.label);
    const canvas = element("canvas", figure);
    canvas.className = "view";
    [canvas.height, canvas.width] = side.frame;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "what " + side.label + " shows");
    const steps = element("div", figure);
    steps.className = "steps";
    const flags = element("p", figure, "");
    flags.className = "flags";
    const list = element("dl", figure);
    const rows = {};
    for (const [name, label] of [["driven", "driven"], ["speed", "speed"], ["route", "to the goal"], ["left", "beside the lane"],
      ["degrees", "heading error"], ["step", "step p50 / p95"], ["render", "render p50 / p95"], ["steps", "denoising steps"]]) {
      element("dt", list, label);
      rows[name] = element("dd", list, "-");
    }
    return { canvas, steps, flags, rows };
  });
  at("camera").replaceChildren(...told.cameras.map((name) => new Option(name, name)));
  at("events").replaceChildren();
  for (const name of told.events) {
    const button = element("button", at("events"), name);
    button.type = "button";
    button.addEventListener("click", () => { send("event", name); button.blur(); });
  }
  state.open = true;
  say("driving");
}

function paint(canvas, packed, size) {
  const [height, width] = size;
  if (canvas.height !== height || canvas.width !== width) [canvas.height, canvas.width] = size;
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const image = new ImageData(width, height);
  for (let i = 0, j = 0; i < bytes.length; i += 3, j += 4) {
    image.data[j] = bytes[i];
    image.data[j + 1] = bytes[i + 1];
    image.data[j + 2] = bytes[i + 2];
    image.data[j + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function show(view, side) {
  paint(view.canvas, side.frame, side.size);
  const steps = side.steps === null ? [] : side.steps;
  while (view.steps.childElementCount > steps.length) view.steps.lastElementChild.remove();
  while (view.steps.childElementCount < steps.length) element("canvas", view.steps).setAttribute("aria-hidden", "true");
  steps.forEach((packed, i) => paint(view.steps.children[i], packed, side.size));
  const rows = view.rows, route = side.route;
  rows.driven.textContent = number(side.driven, 1, "m");
  rows.speed.textContent = side.speed === null ? "-" : (3.6 * side.speed).toFixed(1) + " km/h";
  rows.route.textContent = route === null ? "-" : number(route.length - route.along, 1, "m");
  rows.left.textContent = route === null ? "-" : number(route.left, 2, "m to the left");
  rows.degrees.textContent = route === null ? "-" : number(route.degrees, 1, "degrees");
  rows.step.textContent = side.ms.step.map((ms) => ms.toFixed(1)).join(" / ") + " ms";
  rows.render.textContent = side.ms.render.map((ms) => ms.toFixed(1)).join(" / ") + " ms";
  rows.steps.textContent = side.steps === null ? "none: drawn in one go" : String(side.steps.length);
  view.flags.textContent = side.flags.join(", ");
}

function chart(unit) {
  const canvas = at("chart"), pen = canvas.getContext("2d"), values = state.apart;
  const most = Math.max(1e-3, ...values.filter((value) => value !== null));
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = pen.fillStyle = getComputedStyle(canvas).color;
  pen.font = "14px system-ui, sans-serif";
  pen.fillText(most.toFixed(3) + " " + unit, 4, 16);
  pen.lineWidth = 2;
  pen.beginPath();
  let drawing = false;
  values.forEach((value, i) => {
    if (value === null) { drawing = false; return; }
    const x = (i / Math.max(values.length - 1, 1)) * canvas.width, y = canvas.height - 4 - (value / most) * (canvas.height - 28);
    if (drawing) pen.lineTo(x, y); else pen.moveTo(x, y);
    drawing = true;
  });
  pen.stroke();
}

function tick(told) {
  if (told.number !== state.ticks + 1) state.missed += 1;
  state.ticks = told.number;
  state.applied = told.acked;
  state.digests = told.sides.map((side) => side.digest);
  told.sides.forEach((side, i) => show(views[i], side));
  if (told.time === 1) state.apart = [];
  const apart = told.apart, places = apart.metres !== null;
  state.apart.push(places ? apart.metres : apart.pixels);
  chart(places ? "m" : "grey levels");
  const said = places
    ? [number(apart.metres, 3, "m"), number(apart.degrees, 2, "degrees"), number(apart.speed, 2, "m/s"),
      number(apart.actors, 3, "m between actors")]
    : ["a world does not say where its ego is"];
  at("apart").textContent = [...said, number(apart.pixels, 2, "of 255 between pixels")].join(", ");
  const [pedal, wheel] = told.action;
  const steer = wheel === 0 ? "straight" : Math.abs(wheel).toFixed(2) + (wheel > 0 ? " left" : " right");
  at("asked").textContent = "pedal " + pedal.toFixed(2) + ", wheel " + steer;
  at("applied").textContent = String(state.applied);
  at("number").textContent = String(told.number);
  at("fps").textContent = told.fps.toFixed(1);
}

function connect() {
  socket = new WebSocket("ws://" + location.host + "/socket");
  socket.onmessage = (message) => {
    const told = JSON.parse(message.data);
    if (told.type === "hello") hello(told);
    else if (told.type === "tick") tick(told);
    else { state.errors += 1; say(told.line); }
  };
  socket.onclose = (event) => {
    const was = state.open;
    state.open = false;
    down.clear();
    // What was sent and never taken was dropped.
    at("dropped").textContent = String(state.sent - state.applied);
    if (state.errors === 0) say(was ? "the drive has ended; load the page again to drive on" : event.reason || "no connection");
  };
}

window.vrjaxDrive = state;
connect();
