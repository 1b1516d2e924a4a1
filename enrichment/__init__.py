"""What the paper adds to an item's own text (§3.2): board titles, engaged queries, captions."""
