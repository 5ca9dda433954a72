"""Noise, the one way to make a frame, and one file per training stage."""
