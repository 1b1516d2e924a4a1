"""The query, item and compatibility encoders, their loss and their training (§3.4, §3.5)."""
