// Start: scrubbers first, then the page-wide plots that follow the active one's step.
const scrubbers = [...document.querySelectorAll("[data-scrubber]")].map((root, i) => scrubberPanel(root, payload.scrubbers[i], i));

const drawers = {
  curve: (mount, i) => curvePlot(mount, payload.curves[i], scrubbers.length ? (step) => scrubbers[activeScrubber].moveTo(step) : null),
  map: (mount, i) => heatPlot(mount, payload.maps[i]),
  forest: (mount, i) => forestPlot(mount, payload.forests[i]),
};
for (const mount of document.querySelectorAll("[data-plot]")) {
  const follow = drawers[mount.dataset.plot](mount, Number(mount.dataset.index));
  if (follow) stepListeners.push(follow);
}
const asked = place.read();
scrubbers.forEach((panel, i) => panel.start(asked && asked.scrubber === i ? asked : null));
const restore = () => {
  const at = place.read();
  if (at && scrubbers[at.scrubber]) scrubbers[at.scrubber].restore(at);
  else if (place.empty()) scrubbers.forEach((panel) => panel.restore(null));
};
for (const name of ["popstate", "hashchange"]) window.addEventListener(name, restore);
