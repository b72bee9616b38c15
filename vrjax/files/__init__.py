"""Bytes on disk: whole-or-not writes, run folders, fingerprints, safetensors and .pth, arrays by content."""
