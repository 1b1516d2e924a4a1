"""Experiments on traffic: variants of the search, who gets which, and what came of it (§5.2)."""
