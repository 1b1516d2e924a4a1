"""The processes of a service: the supervisor, its workers, and their HTTP server."""
