// The position in the address: #case=1&seed=0&step=7&frame=8 (and scrubber=1, on a page of several). Choosing a case or
// a seed is a step of the history, moving is not. Inside a sandboxed frame there may be no history: then nothing is kept.
const place = {
  pending: null,
  timer: 0,
  read() {
    try {
      const given = new URLSearchParams(location.hash.slice(1));
      if (!given.has("step")) return null;
      const at = (name) => { const n = parseInt(given.get(name) || "0", 10); return Number.isFinite(n) ? n : 0; };
      return { scrubber: at("scrubber"), case: at("case"), seed: at("seed"), step: at("step"), frame: given.has("frame") ? at("frame") : null };
    } catch {
      return null;
    }
  },
  empty() {
    try { return location.hash === ""; } catch { return true; }
  },
  flush() {
    clearTimeout(place.timer);
    const hash = place.pending;
    place.pending = null;
    try { if (hash && hash !== location.hash) history.replaceState(null, "", hash); } catch { /* no history here */ }
  },
  write(at, push) {
    const hash = `#${at.scrubber ? `scrubber=${at.scrubber}&` : ""}case=${at.case}&seed=${at.seed}&step=${at.step}&frame=${at.frame}`;
    if (push) {
      place.flush();
      try { if (hash !== location.hash) history.pushState(null, "", hash); } catch { /* no history here */ }
      return;
    }
    place.pending = hash;
    clearTimeout(place.timer);
    place.timer = setTimeout(place.flush, 250); // browsers allow a hundred or two changes in half a minute
  },
};
