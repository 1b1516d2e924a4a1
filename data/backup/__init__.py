"""Backups of a workspace while it is in use, and restoring them."""
