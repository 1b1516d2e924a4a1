"""Ads in search (§5.3): retrieval, relevance gate, predicted rate, auction (docs/guide/ads.md)."""
