"""Benchmarks of others: their file formats, their scorers run unchanged, tables with control rows."""
