"""Queries classified into a hierarchical taxonomy from their frozen embeddings (§5.4).

A labels file, one small classifier in torch, fastText on the same split, precision by level.
`report` measures all of it, `store` keeps a classifier in the workspace."""
