"""The catalogue: schema and migrations, items, vectors, splits and pairs, feedback."""
