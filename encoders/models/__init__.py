"""The networks and their tokenisers: query, item and compatibility encoders (§3.4)."""
