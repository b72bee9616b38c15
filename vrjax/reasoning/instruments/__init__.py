"""Looking into a run and intervening in it. Import the submodule you need.

| file | what is in it |
| --- | --- |
| `readout`, `counts` | what a clean estimate says, on the device; counting answers over steps, on the host |
| `cells`, `perturb` | where a run is disturbed, and how: noise, re-noising, transplants, sweeps |
| `cka` | how far a disturbance travels |
| `layers` | taps on blocks, swaps and ablations |
| `attribution` | where in a run its answer was decided: a gradient through the sampler, checked by ablations |
| `probes` | linear probes in closed form: which block knows what |
| `ensemble`, `arms` | seeds that think together, and the table of their rivals at equal compute |
| `null` | the exact denoiser that knows all answers |
| `stepping` | runs of a large model one compiled step at a time |
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)
