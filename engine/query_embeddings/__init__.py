"""Query embeddings while serving: the cache, its shared stores, and the batching of requests."""
