"""One analysis of text for items and queries: normalising, words, BM25's tokens, exclusions."""
