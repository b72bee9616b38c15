"""ViMoGen and MBench (arXiv 2510.26794)."""
