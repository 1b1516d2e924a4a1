"""The catalogue of one user: files in, enriched items and training pairs out."""
