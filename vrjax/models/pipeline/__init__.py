"""From a folder of weights and a prompt to a trajectory and a video: `pipeline.open(folder)`."""

from vrjax.models.pipeline.public import Inputs, Lora, Pipeline, open, sample  # noqa: A004

__all__ = ["Inputs", "Lora", "Pipeline", "open", "sample"]
