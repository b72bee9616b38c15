"""Discs in a box under exact physics, four ways to break it, and the exact judge (RealDPO's study)."""
