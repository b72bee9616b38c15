"""Sources and Grain pipelines: procedural worlds as training batches, and the folder layout of VBVR."""
