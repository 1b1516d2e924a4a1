"""The `omnisearch` command."""
