"""What became of ads: reports from the logs, and simulated users (docs/guide/ads.md)."""
