"""What a worker holds open and its requests share: engine, counters, threads, logs, feedback."""
