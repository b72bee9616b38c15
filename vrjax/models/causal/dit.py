"""A block-causal network that is told what is done: Wan's blocks, chunks of its own, and one action for each frame.

    dit = CausalDiT(CausalConfig(action=2, chunk=1, window=8, ...), rngs=nnx.Rngs(0))
    v, taps = dit(x, time, actions=actions)        # x (f, h, w, c); time () or (f,); actions (f, 2)

An action belongs to the frame that it leads to, and to no other: it is added to what that frame's tokens are told of
their time, so it reaches later frames only as earlier frames do, through attention. The first frame of a video that
nothing led to has an action of zeros.

With `action=0` and text this is `WanDiT` with the same parameters, and Self-Forcing's files load into it (`family`).
With `text_len=0` there is no text: blocks have no cross-attention, which a small world neither needs nor pays for.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jaxtyping import Array, Float

from vrjax.flow import Prediction, Velocity, words
from vrjax.models.blocks import stack
from vrjax.models.blocks.conditioned import guided
from vrjax.models.blocks.layers import Block, Linear
from vrjax.models.causal import cache, chunks, masked, network
from vrjax.models.causal.network import NONE
from vrjax.models.wan.dit import Context, WanConfig, WanDiT
from vrjax.parallel.layout import Layout


@dataclasses.dataclass(frozen=True)
class CausalConfig(WanConfig):
    """Shape and run-time options of a CausalDiT: those of `WanConfig`, and these.

    Attributes:
        action: numbers that an action has; 0: the network knows none.
        text_len: rows of text; 0: none, and no cross-attention.
        chunk: frames of a chunk, see `chunks.partition`.
        first: frames of the first chunk, where it is another number.
        window: frames that a chunk sees, its own and the sink's included; None: all.
        sink: frames at the beginning that are always seen.
        previous: every frame's tokens are also told those of the frame before it, as it is remembered (zeros before
            the first), which needs chunks of one frame: for worlds most of which is as it was.
        predicts: as of `WanConfig`; "change" is added to the frame before, which needs `previous`.
        positions: of the cache, see `cache.Memory`. "relative" has no last frame, and without a sink it is what
            training sees.
    """

    family: ClassVar[str] = "causal"
    BEFORE: ClassVar[str] = "the frame before, which needs previous=True"
    FRAMES: ClassVar[tuple[str, ...]] = ("actions",)

    action: int = 0
    chunk: int = 3
    first: int | None = None
    window: int | None = None
    sink: int = 0
    positions: str = "absolute"
    previous: bool = False

    @property
    def changes(self) -> bool:
        """Whether there is something that a change can be added to: the frame before."""
        return self.previous

    def __post_init__(self):
        super().__post_init__()
        if self.causal or self.image_dim is not None or self.patch[0] != 1 or self.in_channels != self.out_channels:
            raise ValueError(
                f"CausalConfig: causal={self.causal}, image_dim={self.image_dim}, patch={self.patch}, "
                f"{self.in_channels} channels in and {self.out_channels} out, expected text-to-video with one frame a "
                "token and causal left alone, since chunks say what is seen"
            )
        if min(self.action, self.text_len) < 0:
            raise ValueError(f"CausalConfig: action={self.action}, text_len={self.text_len}, expected 0 or more")
        if self.previous and {self.chunk, self.first or 1} != {1}:
            raise ValueError(f"CausalConfig: previous needs chunks of one frame, found {self.first} and {self.chunk}")
        chunks.partition(self.first or self.chunk, self.chunk, self.first)
        chunks.check_window(self.window, self.sink, (self.chunk, self.first or self.chunk))
        cache.Memory(0, self.window, self.sink, self.positions)


class CausalDiT(WanDiT):
    """Wan's transformer, block-causal, with actions. See the module docstring; `CausalConfig` states every option."""

    def __init__(self, cfg: CausalConfig, *, rngs: nnx.Rngs, layout: Layout | None = None):
        super().__init__(cfg, rngs=rngs, layout=layout)
        key, before, of_blocks = jax.random.split(rngs.params(), 3)
        # From public weights a network begins as the one without actions.
        start = nnx.initializers.zeros_init() if cfg.gate_init is None else nnx.initializers.xavier_uniform()
        self.action_in = Linear(start, key, cfg.action, cfg.dim) if cfg.action else None
        size = cfg.in_channels * cfg.patch_size
        self.previous_in = Linear(start, before, size, cfg.dim, cfg.param_dtype) if cfg.previous else None
        if not cfg.text_len:
            del self.text_in, self.text_out, self.blocks
            self.text_in = self.text_out = None
            each = lambda key: Block(cfg, key, across=False)
            self.blocks = jax.vmap(each)(jax.random.split(of_blocks, cfg.layers))

    def __repr__(self) -> str:
        known = f", actions of {self.cfg.action}" if self.cfg.action else ""
        return f"CausalDiT({self.cfg.layers} blocks of width {self.cfg.dim}{known}, {words.parameters(self)})"

    def __call__(
        self,
        x: Float[Array | np.ndarray, "f h w c"],
        time: Any,
        text: Float[Array | np.ndarray, "l d"] | Context | None = None,
        *,
        actions: Float[Array | np.ndarray, "f2 a"] | None = None,
        clean: Float[Array | np.ndarray, "f3 h3 w3 c3"] | None = None,
        clean_time: Any = 0.0,
        taps: Mapping[str, Callable] = NONE,
        edits: Mapping[str, Callable] = NONE,
    ) -> Prediction:
        """Velocity of a whole video in the config's chunks and window, without a cache.

        Args:
            x: noisy latent, whole chunks.
            time: 0 ... 1000, () or (f,).
            text: (l, text_dim), or what `context` made of it; None of a network without text.
            actions: (f, size), row f leading to frame f; None of a network without actions.
            clean, clean_time: of teacher forcing, see `masked.forward`.
            taps, edits: as of `WanDiT`; beside a clean video they see its tokens first.

        Returns:
            Prediction(v (f, h, w, c) float32, taps).

        Raises:
            ValueError: shapes that do not fit the config, or an unknown site.
        """
        frames, _, _ = network.grid_of(self, x)
        cfg = self.cfg
        seen = {"chunks": chunks.partition(frames, cfg.chunk, cfg.first), "window": cfg.window, "sink": cfg.sink}
        beside = {"clean": clean, "clean_time": clean_time, "actions": actions}
        text = text if isinstance(text, Context) else self.context(text)
        return masked.predict(self, x, time, text, **seen, **beside, taps=taps, edits=edits)

    def behind(self, frames: Array) -> Array:
        """What the tokens of frames (f, h, w, c) are told of those before them, which these are: (tokens, dim)."""
        assert self.previous_in is not None
        _, p, q = self.cfg.patch
        rows = rearrange(frames, "f (h p) (w q) c -> (f h w) (c p q)", p=p, q=q)
        return self.previous_in(rows, self.cfg.dtype)

    def context(self, text: Any = None, clip: Any = None, *, ahead: bool = False) -> Context:
        """See `WanDiT.context`. ValueError: no text where the network reads it, or some where it does not."""
        if self.cfg.text_len:
            if text is None:
                raise ValueError(f"text: found none, expected (l, {self.cfg.text_dim})")
            return super().context(text, clip, ahead=ahead)
        if text is not None:
            raise ValueError(f"text: found shape {jnp.shape(text)}, expected None: this network has no text")
        return Context((None, None), None, stack.unstacked(self.blocks) if ahead and self.cfg.unroll else None)

    def velocity(  # type: ignore[override]
        self, text: Any = None, actions: Any = None, taps: Mapping = NONE, edits: Mapping = NONE
    ) -> Velocity:
        """Closes the conditions over; keys and values of the text are computed here, once for all calls."""
        context = self.context(text, ahead=True)
        return lambda x, level: self(x, level.time, context, actions=actions, taps=taps, edits=edits)

    def guided(  # type: ignore[override]
        self,
        text: Any,
        negative: Any,
        scale: Any,
        *,
        actions: tuple[Any, Any] = (None, None),
        renorm: Callable | None = None,
        taps: Mapping = NONE,
        edits: Mapping = NONE,
    ) -> Velocity:
        """Classifier-free guidance, see `vrjax.models.blocks.conditioned.guided`.

        Args:
            text, negative: of the two branches, of one shape; None of a network without text.
            scale, renorm: see `vrjax.flow.cfg`.
            actions: of the two branches.
            taps, edits: as in a call; edits act on both branches, taps read the conditional one.

        Raises:
            ValueError: conditions that do not fit the config or each other.
        """
        pairs = {"text": (text, negative), "actions": actions}
        for name, (one, other) in pairs.items():
            if (one is None) != (other is None) or (one is not None and jnp.shape(one) != jnp.shape(other)):
                raise ValueError(f"guided: {name} {np.shape(one)} and {np.shape(other)}, expected one shape")
        if all(one is None for one, _ in pairs.values()):
            raise ValueError("guided: neither text nor actions, expected conditions in which the branches differ")
        both = {k: None if a is None else jnp.stack([jnp.asarray(a), jnp.asarray(b)]) for k, (a, b) in pairs.items()}
        of_text, contexts = (None,) * 3, tuple(self.context(ahead=True)) if text is None else ()
        if text is not None:
            of_text = (0, 1, None)  # keys and values stay block by block, as they are used
            make = lambda rows: tuple(self.context(rows, ahead=True))
            contexts = jax.vmap(make, out_axes=of_text)(both["text"])

        def run(x, level, rows, parts, blocks, actions):
            return self(x, level.time, Context(rows, parts, blocks), actions=actions, taps=taps, edits=edits)

        axes = (*of_text, None if both["actions"] is None else 0)
        return guided(self.layout, run, (*contexts, both["actions"]), axes, scale, renorm)


def abstract(cfg: CausalConfig, layout: Layout | None = None) -> CausalDiT:
    """A CausalDiT whose parameters are shapes only: no memory is allocated, whatever the config."""
    return jax.eval_shape(lambda: CausalDiT(cfg, rngs=nnx.Rngs(0), layout=layout))
