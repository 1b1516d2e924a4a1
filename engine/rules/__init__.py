"""Rules of a shop: synonyms, pins, boosts, burials and hidden items (docs/guide/rules.md)."""
