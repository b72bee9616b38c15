"""What transformers of several families share. Written for one example, tokens first; on a mesh by a `Layout`.

| module | what is in it |
| --- | --- |
| `attention` | scaled dot products: one dispatch over the kernels |
| `tiled` | the kernel of its own: any device, a tile of scores at a time |
| `sequence` | the same with tokens and heads divided over a mesh: all-to-all or ring |
| `layers` | linear layers, norms, rotary positions, attention with its projections, and a `Block` |
| `conditioned` | what is made of text and time before the blocks; guidance in one pass |
| `stack` | runs equal blocks: scanned or unrolled, recomputed by policy, with taps and edits inside |
| `parameterization` | what a head says, velocity or latent, and the velocity that is made of it |
| `sites` | the named sites of a stack, and what taps and edits do there |
| `axes` | logical axis names of parameters, for the rules that place them on a mesh |
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)
