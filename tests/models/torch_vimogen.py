"""ViMoGen's transformer and sampler as a plain PyTorch statement, from the sheet of facts: the oracle of parity tests.

Parameters are a flat dict under the public names; one example at a time, float32 or float64, no classes.
"""

import math

import torch
import torch.nn.functional as F


def shapes(cfg):
    """Public names and shapes of the parameters of a MotionConfig."""
    d, f, out = cfg.dim, cfg.ffn_dim, {}

    def linear(name, n_in, n_out):
        out[f"{name}.weight"], out[f"{name}.bias"] = (n_out, n_in), (n_out,)

    def attention(name):
        for part in "qkvo":
            linear(f"{name}.{part}", d, d)
        out[f"{name}.norm_q.weight"] = out[f"{name}.norm_k.weight"] = (d,)

    def block(name):
        attention(f"{name}.self_attn")
        linear(f"{name}.ffn.0", d, f)
        linear(f"{name}.ffn.2", f, d)
        out[f"{name}.modulation"] = (1, 6, d)

    def head(name, n_in, n_out):
        linear(f"{name}.head", n_in, n_out)
        out[f"{name}.modulation"] = (1, 2, d)

    linear("motion_embedding", cfg.channels, d)
    linear("text_embedding.0", cfg.text_dim, d)
    linear("text_embedding.2", d, d)
    linear("time_embedding.0", cfg.freq_dim, d)
    linear("time_embedding.2", d, d)
    linear("time_projection.1", d, 6 * d)
    for i in range(cfg.layers):
        block(f"blocks.{i}")
        attention(f"blocks.{i}.cross_attn")
        out[f"blocks.{i}.norm3.weight"] = out[f"blocks.{i}.norm3.bias"] = (d,)
        if cfg.reference_channels:
            attention(f"blocks.{i}.ref_motion_cross_attn")
            out[f"blocks.{i}.norm4.weight"] = out[f"blocks.{i}.norm4.bias"] = (d,)
    if cfg.reference_channels:
        linear("ref_motion_embedding", cfg.reference_channels, d)
        for i in range(cfg.encoder_layers):
            block(f"ref_motion_encoder.{i}")
    if cfg.local_channels:
        head("local_motion_head", d, cfg.local_channels)
        linear("fusion", d + cfg.local_channels, d)
        head("global_motion_head", d, cfg.channels - cfg.local_channels)
    else:
        head("motion_head", d, cfg.channels)
    return out


def forward(p, cfg, x, time, text, reference, attend_to_text, frames, reference_frames):
    """Velocity (t, channels) of one example.

    Args:
        p: parameters by public names.
        cfg: a MotionConfig.
        x, text, reference: (t, channels), (l, text_dim), (t, reference_channels) or None.
        time: 0 .. 1000.
        attend_to_text: which branch.
        frames, reference_frames: how many first frames are keys.
    """
    d, kind = cfg.dim, x.dtype
    linear = lambda name, h: F.linear(h, p[f"{name}.weight"], p[f"{name}.bias"])
    norm = lambda h: F.layer_norm(h, (d,), eps=cfg.eps)

    def rms(h, name):
        return h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + cfg.eps) * p[f"{name}.weight"]

    def attention(name, h, context):
        split = lambda a: a.reshape(len(a), cfg.heads, -1).transpose(0, 1)
        q = split(rms(linear(f"{name}.q", h), f"{name}.norm_q"))
        k = split(rms(linear(f"{name}.k", context), f"{name}.norm_k"))
        v = split(linear(f"{name}.v", context))
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), -1)
        return linear(f"{name}.o", (weights @ v).transpose(0, 1).reshape(len(h), d))

    def table(n):
        place = torch.arange(n, dtype=torch.float64)[:, None]
        rate = torch.exp(torch.arange(0, d, 2, dtype=torch.float64) * (-math.log(10000.0) / d))
        out = torch.zeros(n, d, dtype=torch.float64)
        out[:, 0::2], out[:, 1::2] = torch.sin(place * rate), torch.cos(place * rate)
        return out.to(kind)

    half = cfg.freq_dim // 2
    angle = torch.as_tensor(time, dtype=torch.float64) * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    wave = torch.cat([torch.cos(angle), torch.sin(angle)]).to(kind)
    e = linear("time_embedding.2", F.silu(linear("time_embedding.0", wave)))
    six = linear("time_projection.1", F.silu(e)).reshape(6, d)

    def block(name, h, across=None):
        g = p[f"{name}.modulation"][0] + six
        inner = norm(h) * (1 + g[1]) + g[0]
        h = h + attention(f"{name}.self_attn", inner, inner[:frames]) * g[2]
        if across is not None:
            h = h + across(name, h)
        inner = norm(h) * (1 + g[4]) + g[3]
        return h + linear(f"{name}.ffn.2", F.gelu(linear(f"{name}.ffn.0", inner), approximate="tanh")) * g[5]

    def by_text(name, h):
        affine = norm(h) * p[f"{name}.norm3.weight"] + p[f"{name}.norm3.bias"]
        return attention(f"{name}.cross_attn", affine, words)

    def by_motion(name, h):
        affine = norm(h) * p[f"{name}.norm4.weight"] + p[f"{name}.norm4.bias"]
        return attention(f"{name}.ref_motion_cross_attn", affine, shown[:reference_frames])

    def head(name, h):
        m = p[f"{name}.modulation"][0] + e
        return linear(f"{name}.head", norm(h) * (1 + m[1]) + m[0])

    if attend_to_text:
        words = linear("text_embedding.2", F.gelu(linear("text_embedding.0", text), approximate="tanh"))
    else:
        shown = linear("ref_motion_embedding", reference) + table(len(reference))
        for i in range(cfg.encoder_layers):
            shown = block(f"ref_motion_encoder.{i}", shown)
    h = linear("motion_embedding", x) + table(len(x))
    for i in range(cfg.layers):
        h = block(f"blocks.{i}", h, by_text if attend_to_text else by_motion)
    if not cfg.local_channels:
        return head("motion_head", h)
    local = head("local_motion_head", h)
    return torch.cat([local, head("global_motion_head", linear("fusion", torch.cat([h, local], -1)))], -1)


def sample(velocity, noise, steps, shift=5.0, start=1.0, rounded=False):
    """States after every Euler step of the public sampler; `velocity(x, time)`."""
    raw = torch.tensor([start * (1 - i / steps) for i in range(steps + 1)], dtype=torch.float64)
    sigmas = shift * raw / (1 + (shift - 1) * raw)
    x, states = noise, []
    for now, after in zip(sigmas, sigmas[1:], strict=False):
        time = 1000 * now
        time = time.to(torch.float32).to(torch.bfloat16).double() if rounded else time
        x = x + (after - now).to(x.dtype) * velocity(x, time)
        states.append(x)
    return torch.stack(states)
