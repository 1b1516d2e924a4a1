"""The whole recipe in Python: what the commands, the demo and the benchmarks call."""
