"use strict";
// Helpers shared by all panels. Strings from data become text nodes, never markup.
const payload = JSON.parse(document.getElementById("payload").textContent);
const SVG = "http://www.w3.org/2000/svg";

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function shape(tag, attributes = {}, text = null) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  if (text !== null) node.textContent = text;
  return node;
}

function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size >= 1000 ? Math.round(value).toString() : size > 0 && size < 1e-4 ? value.toExponential(1) : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}

// At most `most` of 0..count-1, evenly spread, with both ends; the entry nearest to `current` becomes `current`.
function pick(count, most, current) {
  if (count <= most) return Array.from({ length: count }, (_, i) => i);
  const chosen = Array.from({ length: most }, (_, i) => Math.round((i * (count - 1)) / (most - 1)));
  let nearest = 0;
  chosen.forEach((value, i) => {
    if (Math.abs(value - current) < Math.abs(chosen[nearest] - current)) nearest = i;
  });
  chosen[nearest] = current;
  return chosen;
}

function bytes(base64) {
  const text = atob(base64);
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) out[i] = text.charCodeAt(i);
  return out;
}

// A sprite sheet, decoded once: rows x columns of pictures, kept as raw RGBA.
const sheets = new Map();
function sheet(uri) {
  if (!sheets.has(uri)) {
    sheets.set(uri, new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => {
        const canvas = document.createElement("canvas");
        canvas.width = image.naturalWidth;
        canvas.height = image.naturalHeight;
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0);
        resolve(context.getImageData(0, 0, canvas.width, canvas.height));
      };
      image.onerror = () => reject(new Error("a picture inside this page could not be decoded"));
      image.src = uri;
    }));
  }
  return sheets.get(uri);
}

function cut(data, row, column, width, height) {
  const out = new ImageData(width, height);
  for (let y = 0; y < height; y += 1) {
    const start = 4 * ((row * height + y) * data.width + column * width);
    out.data.set(data.data.subarray(start, start + 4 * width), 4 * y * width);
  }
  return out;
}

// Colour scales. Sequential: dark violet, red, amber, near-white, so that a block "lights up" on light and dark pages.
const GLOW = [[22, 14, 46], [60, 17, 106], [115, 31, 119], [175, 52, 100], [221, 81, 58], [247, 139, 9], [251, 204, 74], [252, 250, 200]];
const DIVERGE = [[20, 86, 140], [67, 147, 195], [160, 203, 226], [244, 244, 242], [246, 182, 140], [217, 101, 60], [146, 36, 20]];
function colour(stops, at) {
  const place = clamp(at, 0, 1) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(place));
  return stops[i].map((c, k) => Math.round(c + (stops[i + 1][k] - c) * (place - i)));
}
const GLOW_TABLE = Array.from({ length: 256 }, (_, i) => colour(GLOW, i / 254));
const rgb = (c) => `rgb(${c[0]},${c[1]},${c[2]})`;

const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Calls `draw(width)` now and whenever the node's width or the colour scheme changes.
function whenSized(node, draw) {
  let last = 0;
  const run = (force) => {
    const width = Math.floor(node.clientWidth);
    if (width > 0 && (force || width !== last)) {
      last = width;
      draw(width);
    }
  };
  new ResizeObserver(() => run(false)).observe(node);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => run(true));
  run(true);
}

// The step in view, on the noise grid: page-wide plots follow it and may move it.
const stepListeners = [];
const stepMovers = [];
let activeScrubber = 0;
function announceStep(scrubber, step) {
  if (scrubber === activeScrubber) stepListeners.forEach((listen) => listen(step));
}
