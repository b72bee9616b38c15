"""Learned world models as simulators: how far, how sure, what for. See `study`."""
