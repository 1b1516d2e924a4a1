"""Classifies queries into a hierarchical taxonomy from their frozen embeddings (§5.4).

`study` compares a small torch classifier with fastText on the same split, level by level;
`classifier_file` stores a classifier in the workspace."""
