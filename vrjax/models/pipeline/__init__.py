"""From a model's folder and a prompt to a trajectory and a video.

    pipe = pipeline.open("Wan2.2-I2V-A14B")            # nothing is loaded yet; pipe.name, pipe.defaults
    traj = pipe.sample("the red ball reaches the exit", image="maze.png", frames=81, size=(480, 832), seeds=[0, 1])
    videos = pipe.decode(traj.final)                   # (2, 81, 480, 832, 3) in [-1, 1]

    pipe = pipeline.open(shipped.path("worlds"))       # an embedded model: a prompt and a picture, or a task's clip
    traj = pipe.sample(tasks.get("maze").make(7, "test"), seeds=range(4))

| file | what is in it |
| --- | --- |
| `opening` | `open` |
| `pipelines` | `Pipeline`: settings, inputs, the compiled run; `WanPipeline`, `EmbeddedPipeline` |
| `streams` | `CausalPipeline`: videos chunk by chunk |
| `loras` | which LoRA file changes which network |
| `denoise` | the run as pure functions, for networks of any family: all who sample compile `denoise.run` |
| `recorder` | trajectories written to disk step by step, seed by seed |
"""

from vrjax.files import named
from vrjax.models.pipeline.loras import Lora
from vrjax.models.pipeline.opening import open
from vrjax.models.pipeline.pipelines import EmbeddedPipeline, Pipeline, WanPipeline
from vrjax.models.pipeline.streams import CausalPipeline

__all__ = ["CausalPipeline", "EmbeddedPipeline", "Lora", "Pipeline", "WanPipeline", "open"]

__getattr__, __dir__ = named.lazy(__name__)
