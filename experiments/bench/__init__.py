"""Speed beside PyTorch: the same weights and inputs in vrjax and in diffusers, timed in alternating pairs."""
