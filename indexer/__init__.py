"""Batch encoding into signals, and the immutable generations of indexes built from them."""
