"""Search quality: metrics with trec_eval's definitions, Recall@10 among random entities (§4.2),
all systems on held-out engagement and judgments, significance tests, and side-by-side comparisons
of one query or a query set, in the terminal, as JSON and as self-contained pages (Figure 5)."""
