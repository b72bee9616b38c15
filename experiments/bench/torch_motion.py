"""ViMoGen's transformer in PyTorch, in batches and with fused attention: what `motion_*` rows are timed beside.

Parameters have the public names, so that one file serves both sides. Like the public model it is called with text or
reference in every step, and reads them in every step.
"""

import importlib
import math
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.bench.cases import Case

FILE = "model.safetensors"
library: Any = importlib.import_module  # PyTorch need not be installed where types are checked


def network(case: Case) -> Any:
    """The module of a case, with random weights."""
    torch = library("torch")
    nn, functional = torch.nn, torch.nn.functional
    d, heads = case.dim, case.heads
    mlp = lambda a, b, act: nn.Sequential(nn.Linear(a, b), act, nn.Linear(b, d))

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
            self.norm_q, self.norm_k = (nn.RMSNorm(d, eps=1e-6) for _ in range(2))

        def forward(self, x, context):
            split = lambda a: a.unflatten(-1, (heads, -1)).transpose(1, 2)
            q, k, v = self.norm_q(self.q(x)), self.norm_k(self.k(context)), self.v(context)
            out = functional.scaled_dot_product_attention(split(q), split(k), split(v))
            return self.o(out.transpose(1, 2).flatten(2))

    class Block(nn.Module):
        def __init__(self, across=True):
            super().__init__()
            self.self_attn = Attention()
            self.ffn = mlp(d, case.ffn_dim, nn.GELU("tanh"))
            self.modulation = nn.Parameter(torch.randn(1, 6, d) / d**0.5)
            if across:
                self.norm3, self.norm4 = (nn.LayerNorm(d, eps=1e-6) for _ in range(2))
                self.cross_attn, self.ref_motion_cross_attn = Attention(), Attention()

        def forward(self, h, six, context=None):
            g = (self.modulation + six).chunk(6, 1)
            plain = lambda h: functional.layer_norm(h, (d,), eps=1e-6)
            inner = plain(h) * (1 + g[1]) + g[0]
            h = h + self.self_attn(inner, inner) * g[2]
            if context is not None and case.mode == "text":
                h = h + self.cross_attn(self.norm3(h), context)
            elif context is not None:
                h = h + self.ref_motion_cross_attn(self.norm4(h), context)
            return h + self.ffn(plain(h) * (1 + g[4]) + g[3]) * g[5]

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(d, case.motion[1])
            self.modulation = nn.Parameter(torch.randn(1, 2, d) / d**0.5)

        def forward(self, h, e):
            shift, scale = (self.modulation + e[:, None]).chunk(2, 1)
            return self.head(functional.layer_norm(h, (d,), eps=1e-6) * (1 + scale) + shift)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            frames, channels = case.motion
            self.motion_embedding = nn.Linear(channels, d)
            self.text_embedding = mlp(case.text[1], d, nn.GELU("tanh"))
            self.time_embedding = mlp(256, d, nn.SiLU())
            self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(d, 6 * d))
            self.blocks = nn.ModuleList(Block() for _ in range(case.layers))
            self.ref_motion_embedding = nn.Linear(channels // 2, d)
            self.ref_motion_encoder = nn.ModuleList(Block(False) for _ in range(case.reference_layers))
            self.motion_head = Head()
            place = torch.arange(frames)[:, None] * torch.exp(torch.arange(0, d, 2) * (-math.log(1e4) / d))
            table = torch.stack([place.sin(), place.cos()], -1).flatten(1)
            self.register_buffer("table", table, persistent=False)

        def forward(self, x, time, context):
            angle = time.double()[:, None] * 1e4 ** (-torch.arange(128, dtype=torch.float64) / 128)
            e = self.time_embedding(torch.cat([angle.cos(), angle.sin()], -1).float())
            six = self.time_projection(e).unflatten(-1, (6, d))
            if case.mode == "text":
                context = self.text_embedding(context)
            else:
                context = self.ref_motion_embedding(context) + self.table
                for block in self.ref_motion_encoder:
                    context = block(context, six)
            h = self.motion_embedding(x) + self.table
            for block in self.blocks:
                h = block(h, six, context)
            return self.motion_head(h, e)

    torch.manual_seed(0)
    return Network().eval()


def initialise(case: Case, folder: pathlib.Path) -> None:
    """Writes a model with random weights, which both sides then load."""
    save_file = library("safetensors.torch").save_file
    folder.mkdir(parents=True)
    save_file({name: x.contiguous() for name, x in network(case).state_dict().items()}, folder / FILE)


def build(case: Case, folder: pathlib.Path, compiled: bool) -> Callable[[], np.ndarray]:
    """Sampling as the public loop does it, every step kept; guidance is one call for both branches."""
    torch = library("torch")
    net = network(case)
    net.load_state_dict(library("safetensors.torch").load_file(folder / FILE))
    net = torch.compile(net) if compiled else net
    arrays = {k: torch.from_numpy(v) for k, v in case.arrays().items()}
    noise, context = arrays["noise"], arrays["text" if case.mode == "text" else "reference"]
    raw = torch.linspace(1, 0, case.steps + 1, dtype=torch.float64)
    sigmas = (case.shift * raw / (1 + (case.shift - 1) * raw)).tolist()
    if case.mode == "text":
        context = torch.cat([context, torch.zeros_like(context)])

    @torch.inference_mode()
    def loop():
        x, record = noise, []
        for now, after in zip(sigmas, sigmas[1:], strict=False):
            if case.mode == "text":
                told, untold = net(torch.cat([x, x]), torch.full((2 * len(x),), 1000 * now), context).chunk(2)
                v = untold + case.scale * (told - untold)
            else:
                v = net(x, torch.full((len(x),), 1000 * now), context)
            record.append((x, v, x - now * v))
            x = x + (after - now) * v
        return x.numpy()

    return loop
