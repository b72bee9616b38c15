"""Sources and Grain pipelines: procedural worlds as training batches, VBVR's folders, cached latents."""
