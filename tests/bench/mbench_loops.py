"""MBench's five metrics once more, in float64 and frame by frame, as the sheet of the public code states them."""

import numpy as np
from scipy.signal import find_peaks


def flights(standing):
    """[first, last] of every stretch in which a foot does not stand."""
    out, begun = [], None
    for frame, stands in enumerate([*standing, True]):
        if not stands and begun is None:
            begun = frame
        elif stands and begun is not None:
            out.append((begun, frame - 1))
            begun = None
    return out


def forward(x):
    return np.concatenate([x[1:] - x[:-1], x[-1:] - x[-2:-1]])


def metrics(joints, up=2, most=2):
    """`most`: peaks of a flight that does not shake yet."""
    p = np.asarray(joints, np.float64)
    t = len(p)
    local = p - p[:, :1]
    size = lambda x: np.linalg.norm(x, axis=-1)
    feet, root = p[:, [10, 11]], p[:, 0]
    flat = [axis for axis in range(3) if axis != up]
    steps = forward(feet)
    standing = (size(steps) < 0.01) | (feet[..., up] < 0.02)
    deep = [-h for h in feet[..., up].ravel() if h < -0.005]
    ways = [[size(steps[i, f, flat]) for i in range(t) if standing[i, f]] for f in (0, 1)]
    return {
        "Jitter_Degree": sum(size(x[2:] - 2 * x[1:-1] + x[:-2]).mean() for x in (p, local)),
        "Dynamic_Degree": sum(size(x[1:] - x[:-1]).mean() for x in (p, local)),
        "Foot_Sliding": sum(sum(way) / (len(way) + 1e-6) for way in ways) / 2,
        "Ground_Penetration": float(np.mean(deep)) if deep else 0.0,
        "Foot_Floating": floating(feet, root, standing, most) / t,
    }


def floating(feet, root, standing, most):
    size = lambda x: np.linalg.norm(x, axis=-1)
    t, pace = len(root), size(forward(root))
    moved, about = size(forward(feet)), size(forward(feet - root[:, None]))
    rate = about / (pace[:, None] + 1e-6)
    total = 0.0
    for i in range(t):
        if pace[i] < 0.001:
            continue
        bad = [moved[i, f] > 1.2e-4 and (rate[i, f] < 0.6 or rate[i, f] > 1.75) for f in (0, 1)]
        if standing[i].all():
            total += all(bad)
        else:
            total += any(b and s for b, s in zip(bad, standing[i], strict=True))
    spans = [flights(standing[:, f]) for f in (0, 1)]
    for f in (0, 1):
        for first, last in spans[f]:
            n = last - first + 1
            if n >= 4 and (pace[first : last + 1] < 0.001).sum() / n <= 0.5:
                total += (rate[first : last + 1, f] < 0.4).sum() / 2
    for a, b in spans[0]:
        for c, d in spans[1]:
            first, last = max(a, c), min(b, d)
            if last - first + 1 < 4:
                continue
            way = feet[first : last + 1, 0] - feet[first, 0]
            way = way / (size(way)[:, None] + 1e-6)
            angle = np.degrees(np.arccos(np.clip(way @ way[-1], -1, 1)))
            if len(find_peaks(angle[1:])[0]) > most:
                total += last - first + 1
    return total
