"""Builds are loaded into a cluster, verified there, and dropped (`indexer.cluster` searches it)."""
