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
scrubbers.forEach((panel) => panel.start());
