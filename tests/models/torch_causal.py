"""Block-causal Wan with a key-value cache as a plain PyTorch statement, from the sheets of facts: the oracle of parity
tests.

One example at a time, channels last as the callers have them, one time per latent frame. `forward_masked` hides keys
by an explicit boolean mask; `rollout` keeps a Python list of frames per layer and shifts it. Both share `network`,
which leaves to its caller what queries attend to.
"""

import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

POSITIONS = 1024
"""Rows of the tables of rotary angles."""


class Weights:
    """The state dict under its public names, and the sizes beside it.

    Args:
        folder: where model.safetensors and config.json are.
        dtype: torch.float64 or torch.float32, in which everything is computed.
    """

    def __init__(self, folder, dtype=torch.float64):
        folder = pathlib.Path(folder)
        sizes = json.loads((folder / "config.json").read_text())
        self.dim, self.heads, self.layers = sizes["dim"], sizes["num_heads"], sizes["num_layers"]
        self.freq_dim, self.eps, self.dtype = sizes["freq_dim"], sizes["eps"], dtype
        self.tensors = {name: a.to(dtype) for name, a in load_file(folder / "model.safetensors").items()}

    def __getitem__(self, name):
        return self.tensors[name]

    def linear(self, name, h):
        return F.linear(h, self[f"{name}.weight"], self[f"{name}.bias"])

    def layer_norm(self, h):
        return F.layer_norm(h, (self.dim,), eps=self.eps)

    def rms_norm(self, name, h):
        """Over the full width, all heads jointly."""
        return h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + self.eps) * self[f"{name}.weight"]

    def split(self, h):
        return h.reshape(len(h), self.heads, self.dim // self.heads)

    def time(self, time):
        """Of times (F,): e (F, dim) for the head and e0 (F, 6, dim) for the blocks."""
        half = self.freq_dim // 2
        rates = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = time.double()[:, None] * rates
        wave = torch.cat([torch.cos(angle), torch.sin(angle)], 1).to(self.dtype)
        e = self.linear("time_embedding.2", F.silu(self.linear("time_embedding.0", wave)))
        return e, self.linear("time_projection.1", F.silu(e)).reshape(len(time), 6, self.dim)

    def text(self, text):
        return self.linear("text_embedding.2", F.gelu(self.linear("text_embedding.0", text), approximate="tanh"))


def attention(q, k, v, mask=None):
    """Of (queries, heads, width) and (keys, heads, width); mask (queries, keys) is true where a query sees a key."""
    scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return torch.einsum("hqk,khd->qhd", torch.softmax(scores, -1), v)


def rotations(positions, h, w, width):
    """Complex factors (F h w, 1, width / 2) of the tokens of frames with these numbers in the video."""
    space = 2 * (width // 6)
    tables = []
    for axis in (width - 2 * space, space, space):
        rates = 10000.0 ** (-torch.arange(0, axis, 2, dtype=torch.float64) / axis)
        angle = torch.arange(POSITIONS, dtype=torch.float64)[:, None] * rates
        tables.append(torch.polar(torch.ones_like(angle), angle))
    of_frames, of_rows, of_columns = tables
    tokens = []
    for f in positions:
        for i in range(h):
            for j in range(w):
                tokens.append(torch.cat([of_frames[f], of_rows[i], of_columns[j]]))
    return torch.stack(tokens)[:, None]


def rotated(x, factors):
    """The pairs (x[2i], x[2i+1]) turned, in float64."""
    pairs = torch.view_as_complex(x.double().reshape(*x.shape[:-1], -1, 2).contiguous())
    return torch.view_as_real(pairs * factors).reshape(x.shape).to(x.dtype)


def network(p, x, time, positions, text, attend):
    """Velocity (F, h, w, c).

    Args:
        p: Weights.
        x: (F, h, w, c).
        time: (F,), 0 .. 1000.
        positions: F numbers of frames, for the rotary embedding.
        text: (l, text_dim), or None for blocks without cross-attention, which no model wants.
        attend: (layer, q, k, v) -> what self-attention reads; all (tokens, heads, width), q and k after norm and
            rotation.
    """
    frames, height, width, channels = x.shape
    h, w = height // 2, width // 2
    per_token = lambda a: a.repeat_interleave(h * w, 0)
    e, e0 = p.time(time)
    factors = rotations(positions, h, w, p.dim // p.heads)
    words = None if text is None else p.text(text)
    patches = F.conv3d(x.permute(3, 0, 1, 2)[None], p["patch_embedding.weight"], p["patch_embedding.bias"], (1, 2, 2))
    tokens = patches[0].permute(1, 2, 3, 0).reshape(frames * h * w, p.dim)

    for layer in range(p.layers):
        name = f"blocks.{layer}"
        m = per_token(p[f"{name}.modulation"] + e0)
        shift_sa, scale_sa, gate_sa, shift_ffn, scale_ffn, gate_ffn = m.unbind(1)

        inner = p.layer_norm(tokens) * (1 + scale_sa) + shift_sa
        at = f"{name}.self_attn"
        q = rotated(p.split(p.rms_norm(f"{at}.norm_q", p.linear(f"{at}.q", inner))), factors)
        k = rotated(p.split(p.rms_norm(f"{at}.norm_k", p.linear(f"{at}.k", inner))), factors)
        read = attend(layer, q, k, p.split(p.linear(f"{at}.v", inner)))
        tokens = tokens + p.linear(f"{at}.o", read.reshape(len(tokens), p.dim)) * gate_sa

        if words is not None:
            at = f"{name}.cross_attn"
            inner = p.layer_norm(tokens) * p[f"{name}.norm3.weight"] + p[f"{name}.norm3.bias"]
            q = p.split(p.rms_norm(f"{at}.norm_q", p.linear(f"{at}.q", inner)))
            k = p.split(p.rms_norm(f"{at}.norm_k", p.linear(f"{at}.k", words)))
            read = attention(q, k, p.split(p.linear(f"{at}.v", words)))
            tokens = tokens + p.linear(f"{at}.o", read.reshape(len(tokens), p.dim))

        inner = p.layer_norm(tokens) * (1 + scale_ffn) + shift_ffn
        inner = F.gelu(p.linear(f"{name}.ffn.0", inner), approximate="tanh")
        tokens = tokens + p.linear(f"{name}.ffn.2", inner) * gate_ffn

    shift, scale = per_token(p["head.modulation"] + e[:, None]).unbind(1)
    out = p.linear("head.head", p.layer_norm(tokens) * (1 + scale) + shift)
    out = out.reshape(frames, h, w, 1, 2, 2, channels)  # (p_t, p_h, p_w, c) of a patch
    return torch.einsum("fhwpqrc->fphqwrc", out).reshape(x.shape)


def sees(end, frame, window=None, sink=0):
    """Whether a query of the chunk that ends before frame number `end` sees a key of `frame`, other things allowing."""
    if frame >= end:
        return False
    if window is None or end <= window:
        return True
    return frame < sink or frame >= end - (window - sink)


def frame_mask(chunks, window=None, sink=0):
    """Booleans (F, F), rows are of queries, for one sequence; and (2F, 2F) for [clean | noisy]."""
    bounds = []  # of the chunk of every frame
    for n in chunks:
        start = len(bounds)
        bounds += [(start, start + n)] * n
    total = len(bounds)
    one, two = torch.zeros(total, total, dtype=torch.bool), torch.zeros(2 * total, 2 * total, dtype=torch.bool)
    for query, (start, end) in enumerate(bounds):
        for key in range(total):
            seen = sees(end, key, window, sink)
            one[query, key] = seen
            two[query, key] = seen  # clean sees clean
            two[total + query, key] = seen and key < start  # noisy sees the clean chunks before its own
            two[total + query, total + key] = start <= key < end  # and its own noisy one
    return one, two


def forward_masked(p, x, time, text, *, chunks, window=None, sink=0, clean=None, clean_time=None):
    """Velocity (F, h, w, c) of a whole video; times are (F,), and with a clean video teacher forcing is meant."""
    frames, height, width, _ = x.shape
    area = (height // 2) * (width // 2)
    one, two = frame_mask(chunks, window, sink)
    mask, positions = (one if clean is None else two), list(range(frames))
    if clean is not None:
        x, time, positions = torch.cat([clean, x]), torch.cat([clean_time, time]), 2 * positions
    mask = mask.repeat_interleave(area, 0).repeat_interleave(area, 1)
    attend = lambda layer, q, k, v: attention(q, k, v, mask)
    return network(p, x, time, positions, text, attend)[-frames:]


def levels(steps, shift, warp):
    """Pairs of the time that the network is fed and the sigma of the nearest entry of the grid of 1000."""
    u = np.linspace(1, 0, 1001)[:-1]
    sigmas = shift * u / (1 + (shift - 1) * u)
    times = (1000 * sigmas).astype(np.float32)
    steps = steps[:-1] if steps[-1] == 0 else steps
    found = []
    for entry in steps:
        time = float(times[1000 - int(entry)]) if warp else float(entry)
        found.append((time, float(sigmas[np.argmin(np.abs(times - time))])))
    return found


def write(held, start, keys, values, window, sink):
    """Put the frames from number `start` on into one layer's list of (number, keys, values).

    Frames behind the last one advance the list: what does not fit is dropped right behind the sink, and the rest moves
    left. Frames that are there are overwritten.
    """
    if not held or start > held[-1][0]:
        if window is not None:
            overflow = max(0, len(held) + len(keys) - window)
            del held[sink : sink + overflow]
        held.extend([None] * len(keys))
    for i in range(len(keys)):
        slot = len(held) - len(keys) + i
        assert held[slot] is None or held[slot][0] == start + i
        held[slot] = (start + i, keys[i], values[i])


def rollout(
    p,
    text,
    noise,
    *,
    chunk=3,
    first=None,
    steps=(1000, 750, 500, 250),
    shift=5.0,
    warp=True,
    first_steps=None,
    window=None,
    sink=0,
    context_noise=0.0,
    given=None,
    renoise,
    first_renoise=None,
    refresh="text",
):
    """Latents (g + G, h, w, c), and for every chunk that is made the list of its data estimates.

    Arguments are those of `vrjax.models.causal.rollout`, as tensors, and one that makes it wrong:
        refresh: "text" as it should be; "zero text", "no text" (without cross-attention) or "none" (no last pass).
    """
    area = (noise.shape[1] // 2) * (noise.shape[2] // 2)
    cache = [[] for _ in range(p.layers)]

    def call(x, start, time, text):
        def attend(layer, q, k, v):
            by_frame = lambda a: a.reshape(len(x), area, *a.shape[1:])
            write(cache[layer], start, by_frame(k), by_frame(v), window, sink)
            keys = torch.cat([keys for _, keys, _ in cache[layer]])
            values = torch.cat([values for _, _, values in cache[layer]])
            return attention(q, keys, values)

        times = torch.full((len(x),), time, dtype=torch.float64)
        return network(p, x, times, range(start, start + len(x)), text, attend)

    shown = 0 if given is None else len(given)
    total, lengths = shown + len(noise), []
    while sum(lengths) < total:
        lengths.append(first if first is not None and not lengths else chunk)
    assert sum(lengths) == total

    latents, estimates, start = [], [], 0
    for n in lengths:
        if start < shown:
            x0 = given[start : start + n]
            call(x0, start, 0.0, text)
        else:
            own = slice(start - shown, start - shown + n)
            if first_steps is not None and not estimates:
                fed, joins = levels(first_steps, shift, warp), first_renoise
            else:
                fed, joins = levels(steps, shift, warp), renoise[:, own]
            x, made = noise[own], []
            for i, (time, sigma) in enumerate(fed):
                x0 = x - sigma * call(x, start, time, text)
                made.append(x0)
                if i + 1 < len(fed):
                    after = fed[i + 1][1]
                    x = (1 - after) * x0 + after * joins[i]
            estimates.append(made)
            if refresh != "none":
                words = {"text": text, "zero text": torch.zeros_like(text), "no text": None}[refresh]
                call(x0, start, context_noise, words)
        latents.append(x0)
        start += n
    return torch.cat(latents), estimates
