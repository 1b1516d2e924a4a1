"""What runs the service: workers and their supervisor, the HTTP server, counters, guards, logs."""
