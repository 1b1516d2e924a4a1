"""Searching a generation whose build is in a Qdrant cluster (`indexer.cluster`)."""
