"""How good it is: metrics with trec_eval's definitions, Recall@10 among random entities (§4.2),
every system on held-out engagement and judgments, significance, and side-by-side comparisons of
one query or of a query set, in the terminal, as JSON and as self-contained pages (Figure 5)."""
