"""ViMoGen's motion diffusion transformer: Wan's blocks on frames of a body, told by text or by a reference motion.

    dit = MotionDiT(MotionConfig(dim=96, ffn_dim=384, heads=4, layers=6, text_dim=64), rngs=nnx.Rngs(0))
    v, taps = dit(x, time, text)                                        # x (t, 276); one example, batches by jax.vmap
    v, taps = dit(x, time, reference=reference, mode="motion")          # reference (t, 138)

One token is one frame. Positions are added to the embedded frames, there is no rotary embedding. The reference motion
goes through blocks of its own, told of the same time, and each of the main blocks attends either to the text or to
that: a hard choice per example, so that a batch whose examples agree is a static `mode` and pays for one branch alone.

As in the public code, text rows of zeros are attended to (pipelines pad to `text_len`), and a motion shorter than its
array hides the frames behind `length` from all keys, of the reference's blocks too; what comes out behind is not meant.
Facts from github.com/MotrixLab/ViMoGen (bf891de) and arXiv 2510.26794; the code is independent.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from vrjax.flow import Prediction, Velocity, words
from vrjax.models.blocks import conditioned, parameterization, stack
from vrjax.models.blocks.conditioned import Conditioned
from vrjax.models.blocks.layers import PARTS, Block, Linear
from vrjax.models.blocks.sites import Sites
from vrjax.models.motion.blocks import Attended, Head, MotionBlock, positions
from vrjax.models.motion.config import MotionConfig, check_mode
from vrjax.models.motion.report import Report
from vrjax.parallel.layout import Layout, place

NONE: Mapping[str, Callable] = {}
REFERENCE = "reference"  # what the sites of the reference's encoder start with
REFERENCE_PARTS = tuple(part for part in PARTS if part != ".cross_attn")


class Context(NamedTuple):
    """What is computed from the conditions once, before the time is known: see `MotionDiT.context`.

    Attributes:
        text: embedded rows (l, dim), or None.
        pairs: every block's keys and values of them, (layers, l, heads, head_dim) each, or None.
        blocks: the weights of every block by itself, for unrolled blocks, or None.
        reference: embedded frames with positions (t, dim), or None.
        attend_to_text: a scalar, true for text, or None where the mode decides.
        length, rows: frames of motion, and of the reference, that count; None for all.
    """

    text: Any
    pairs: Any
    blocks: list | None
    reference: Any
    attend_to_text: Any
    length: Any
    rows: Any

    __repr__ = words.line


class MotionDiT(Conditioned):
    """ViMoGen's transformer. See the module docstring; `MotionConfig` states every option.

    `layout` says where activations live on a mesh (`vrjax.models.family.shard`). `report` says what its file held
    besides, see `vrjax.models.motion.load_dit`.
    """

    def __init__(self, cfg: MotionConfig, *, rngs: nnx.Rngs, layout: Layout | None = None):
        keys = jax.random.split(rngs.params(), 13)
        super().__init__(cfg, keys[:5], layout)
        self.report = Report()
        linear = functools.partial(Linear, nnx.initializers.xavier_uniform(), dtype=cfg.param_dtype)
        self.motion_embedding = linear(keys[5], cfg.channels, cfg.dim)
        self.blocks = jax.vmap(lambda key: MotionBlock(cfg, key))(jax.random.split(keys[6], cfg.layers))
        reference, local = cfg.reference_channels, cfg.local_channels
        encoder = jax.vmap(lambda key: Block(cfg, key, across=False))
        self.reference_embedding = None if reference is None else linear(keys[7], reference, cfg.dim)
        self.reference_encoder = None if reference is None else encoder(jax.random.split(keys[8], cfg.encoder_layers))
        self.motion_head = Head(cfg, keys[9], cfg.channels) if local is None else None
        self.local_motion_head = None if local is None else Head(cfg, keys[10], local)
        self.fusion = None if local is None else linear(keys[11], cfg.dim + local, cfg.dim)
        self.global_motion_head = None if local is None else Head(cfg, keys[12], cfg.channels - local)

    def __repr__(self) -> str:
        return f"MotionDiT({self.cfg.layers} blocks of width {self.cfg.dim}, {words.parameters(self)})"

    def __call__(
        self,
        x: Float[Array | np.ndarray, "t c"],
        time: Any,
        text: Float[Array | np.ndarray, "l d"] | None = None,
        *,
        reference: Float[Array | np.ndarray, "frames r"] | None = None,
        mode: str | None = None,
        attend_to_text: Any = None,
        length: Any = None,
        reference_length: Any = None,
        taps: Mapping[str, Callable] = NONE,
        edits: Mapping[str, Callable] = NONE,
    ) -> Prediction:
        """Velocity of one example.

        Args:
            x: noisy motion (t, channels), normalised, 20 frames a second.
            time: 0 .. 1000, a scalar, or one per frame (t,). Kept in float32.
            text: (l, text_dim), any l >= 1, no mask. Not read in mode "motion".
            reference: (t, reference_channels), as many frames as x. Not read in mode "text".
            mode: "text" or "motion", the branch of this example, known while tracing; "mixed": both are computed and
                `attend_to_text` chooses. None: the config's.
            attend_to_text: of mode "mixed": a scalar, true (or a number above one half) for the text. By default, as
                in training, the text where the reference is all zero.
            length: frames of x that count, the first ones: None for all, a whole number, or a traced scalar.
            reference_length: the same of the reference, for the attention to it; `length` by default. (The public code
                takes the *sum* of its mask, so that a hole inside shortens the end.)
            taps: site -> fn(h); results in `Prediction.taps`, those of `block.*` sites stacked over blocks.
            edits: site -> fn(h) -> h, applied before the taps of the same site. Sites: `embed`, `block.I`, and
                `block.I.self_attn`, `.cross_attn` (of the branch taken), `.ffn`, with `*` for every block; and where
                the reference is read, `reference.I`, `.self_attn` and `.ffn` of its own blocks.

        Returns:
            Prediction(v (t, channels) float32, taps).

        Raises:
            ValueError: shapes that do not fit the config, a mode without its condition, or an unknown site.
        """
        given = {"mode": mode, "attend_to_text": attend_to_text, "length": length, "reference_length": reference_length}
        return self._run(x, time, self.context(text, reference, **given), taps, edits)

    def context(
        self,
        text: Any = None,
        reference: Any = None,
        *,
        mode: str | None = None,
        attend_to_text: Any = None,
        length: Any = None,
        reference_length: Any = None,
        ahead: bool = False,
    ) -> Context:
        """Embeds the conditions; the arguments are those of a call.

        Args:
            text, reference, mode, attend_to_text, length, reference_length: see `__call__`.
            ahead: also compute every block's keys and values of the text, which then are read by each call instead of
                computed in it: for sampling.

        Raises:
            ValueError: see `__call__`.
        """
        cfg = self.cfg
        mode = str(cfg.mode if mode is None else mode)
        check_mode(cfg, mode)
        rows = pairs = frames = None
        if mode != "motion":
            rows, pairs = self._read(_checked("text", text, mode, "text_dim", cfg.text_dim), ahead)
        if mode != "text":
            assert self.reference_embedding is not None and cfg.reference_channels is not None
            reference = _checked("reference", reference, mode, "reference_channels", cfg.reference_channels)
            frames = self._placed(self.reference_embedding, reference)
        if mode != "mixed":
            attend_to_text = None
        elif attend_to_text is None:
            attend_to_text = jnp.all(reference == 0)
        elif jnp.shape(attend_to_text) != ():
            found = jnp.shape(attend_to_text)
            raise ValueError(f"attend_to_text: shape {found}, expected a scalar; batches go through jax.vmap")
        else:
            attend_to_text = jnp.asarray(attend_to_text) > 0.5
        # Cut up here, outside of the sampler's loop: XLA would copy the stacked weights again in every step.
        blocks = stack.unstacked(self.blocks) if ahead and cfg.unroll else None
        shown = length if reference_length is None else reference_length
        return Context(rows, pairs, blocks, frames, attend_to_text, length, shown)

    def _read(self, text: Array, ahead: bool) -> tuple[Array, Any]:
        """The embedded rows of a text, and every block's keys and values of them."""
        rows, cfg = self.embed_text(text), self.cfg
        if not ahead:
            return rows, None
        # One block after the other: sharded weights are then gathered a block at a time.
        return rows, lax.map(lambda block: block.cross_attn.keys_values(cfg, rows, None), self.blocks)

    def encode_reference(
        self, context: Context, time6: Array, taps: Any = NONE, edits: Any = NONE
    ) -> tuple[Array, dict]:
        """The reference motion as the blocks attend to it, (t, dim), and the taps of its own blocks.

        Args:
            context: of a mode that reads it.
            time6: see `Conditioned.embed_time`.
            taps, edits: of sites `reference.I` and their parts.
        """
        cfg = self.cfg

        def block(h, block, visit):
            return block(cfg, h, time6, None, None, None, self.layout, visit, context.length)

        sites = Sites(taps, edits, cfg.encoder_layers, REFERENCE_PARTS, REFERENCE)
        how = {"unroll": cfg.unroll, "remat": cfg.remat}
        return stack.run(block, context.reference, self.reference_encoder, sites, **how)

    def _run(self, x: Any, time: Any, context: Context, taps: Any, edits: Any) -> Prediction:
        cfg, layout = self.cfg, self.layout
        x, reference, out = jnp.asarray(x), None, {}
        self._check(x, context)
        e, time6 = self.embed_time(time, len(x))
        if context.reference is not None:
            taps, of_reference = _apart(taps)
            edits, changes = _apart(edits)
            reference, out = self.encode_reference(context, time6, of_reference, changes)
        sites = Sites(taps, edits, cfg.layers, PARTS)
        h = sites.embed(self._placed(self.motion_embedding, x), out)

        def block(h, row, visit):
            block, pairs = row
            if pairs is None and context.text is not None:
                pairs = block.cross_attn.keys_values(cfg, context.text, None)
            attended = Attended(pairs, reference, context.rows, context.attend_to_text)
            return block(cfg, h, time6, attended, None, None, layout, visit, context.length)

        rows: Any = (self.blocks, context.pairs)
        if context.blocks is not None:
            pairs = [None] * cfg.layers if context.pairs is None else stack.unstacked(context.pairs)
            rows = list(zip(context.blocks, pairs, strict=True))
        h, inside = stack.run(block, h, rows, sites, unroll=cfg.unroll, remat=cfg.remat)
        found = self._head(h, e).astype(jnp.float32)
        found = parameterization.velocity(cfg.predicts, found, x, (jnp.asarray(time, jnp.float32) / 1000.0)[..., None])
        return Prediction(place(layout, found, "tokens", None), out | inside)

    def _head(self, h: Array, e: Array) -> Array:
        if self.motion_head is not None:
            return self.motion_head(self.cfg, h, e)
        assert self.local_motion_head is not None and self.fusion is not None and self.global_motion_head is not None
        local = self.local_motion_head(self.cfg, h, e)
        fused = self.fusion(jnp.concatenate([h, local], -1), self.cfg.dtype)
        return jnp.concatenate([local, self.global_motion_head(self.cfg, fused, e)], -1)

    def _placed(self, embedding: Linear, frames: Any) -> Array:
        """Embedded frames with their positions, in the compute dtype."""
        layout, dtype = self.layout, self.cfg.dtype
        h = embedding(place(layout, jnp.asarray(frames), "tokens", None), dtype)
        return place(layout, h + jnp.asarray(positions(len(h), self.cfg.dim), dtype), "tokens", None)

    def velocity(
        self,
        text: Any = None,
        *,
        taps: Mapping[str, Callable] = NONE,
        edits: Mapping[str, Callable] = NONE,
        **given: Any,
    ) -> Velocity:
        """Closes the conditions over: a velocity `(x, level) -> Prediction` that shows the network `level.time`.

        For sampling: what depends on neither x nor time is computed here, once. `given` are the `reference`, `mode`,
        `attend_to_text`, `length` and `reference_length` of a call.
        """
        context = self.context(text, **given, ahead=True)
        return lambda x, level: self._run(x, level.time, context, taps, edits)

    def guided(
        self,
        text: Any,
        negative: Any,
        scale: Any,
        *,
        renorm: Callable | None = None,
        taps: Mapping[str, Callable] = NONE,
        edits: Mapping[str, Callable] = NONE,
        **given: Any,
    ) -> Velocity:
        """Classifier-free guidance over the text, see `vrjax.models.blocks.conditioned.guided`.

        In mode "motion" both branches would be the same, and the plain velocity is returned: the public sampler
        computes and drops the second.

        Args:
            text, negative: conditions of the two branches, of one shape (l, text_dim); see `sampling.padded`.
            scale, renorm: see `vrjax.flow.cfg`.
            taps, edits: as in a call; edits act on both branches, taps read the conditional one.
            **given: see `velocity`; the same for both branches.

        Raises:
            ValueError: conditions that do not fit the config or each other.
        """
        mode = given.get("mode") or self.cfg.mode
        if mode == "motion":
            return self.velocity(text, taps=taps, edits=edits, **given)
        text = _checked("text", text, mode, "text_dim", self.cfg.text_dim)
        negative = _checked("negative", negative, mode, "text_dim", self.cfg.text_dim)
        if text.shape != negative.shape:
            raise ValueError(f"guided: text {text.shape} and negative {negative.shape}, expected one shape")
        blocks = stack.unstacked(self.blocks) if self.cfg.unroll else None
        shared = self.context(text, **given)._replace(blocks=blocks)  # all but the text is computed once
        both = jax.vmap(lambda rows: self._read(rows, True), out_axes=(0, 1))(jnp.stack([text, negative]))

        def run(x, level, text, pairs):
            return self._run(x, level.time, shared._replace(text=text, pairs=pairs), taps, edits)

        return conditioned.guided(self.layout, run, both, (0, 1), scale, renorm)

    def _check(self, x: Any, context: Context) -> None:
        """ValueError where x does not fit the config or the reference."""
        if x.ndim != 2 or x.shape[-1] != self.cfg.channels or not len(x):
            channels = f"(t, channels={self.cfg.channels})"
            raise ValueError(f"x: shape {x.shape}, expected {channels} with t >= 1; batches go through jax.vmap")
        if context.reference is not None and len(context.reference) != len(x):
            raise ValueError(f"reference: {len(context.reference)} frames, expected those of x, {len(x)}")
        lengths = {"length": context.length, "reference_length": context.rows}
        for name, value in ((name, value) for name, value in lengths.items() if value is not None):
            if jnp.shape(value) != ():
                raise ValueError(f"{name}: shape {jnp.shape(value)}, expected a scalar; batches go through jax.vmap")
            if isinstance(value, int | np.integer) and not 1 <= value <= len(x):
                raise ValueError(f"{name}: found {value}, expected 1 to {len(x)}, the frames")


def _apart(functions: Any) -> tuple[Any, dict[str, Callable]]:
    """Taps or edits of the main blocks, and those of the reference's."""
    if not isinstance(functions, Mapping):  # `Sites` says so
        return functions, {}
    there = {name: fn for name, fn in functions.items() if str(name).startswith(f"{REFERENCE}.")}
    return {name: fn for name, fn in functions.items() if name not in there}, there


def _checked(name: str, rows: Any, mode: str, axis: str, width: int) -> Array:
    """A condition as an array; ValueError where it is missing or has another shape."""
    if rows is None:
        raise ValueError(f"{name}: found None, but mode {mode!r} reads it, expected (rows, {axis}={width})")
    rows = jnp.asarray(rows)
    if rows.ndim != 2 or rows.shape[-1] != width or not len(rows):
        raise ValueError(f"{name}: shape {rows.shape}, expected (rows, {axis}={width}) with at least one row")
    return rows


def abstract(cfg: MotionConfig, layout: Layout | None = None) -> MotionDiT:
    """A MotionDiT whose parameters are shapes only: no memory is allocated, whatever the config."""
    return jax.eval_shape(lambda: MotionDiT(cfg, rngs=nnx.Rngs(0), layout=layout))


def init(cfg: MotionConfig, key: jax.Array) -> MotionDiT:
    """Random weights from a key, as the public class has them: no layer starts at zero."""
    return MotionDiT(cfg, rngs=nnx.Rngs(params=key))
