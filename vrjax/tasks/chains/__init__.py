"""Rows of elements in which each passes on what happened to it (VChain's study)."""
