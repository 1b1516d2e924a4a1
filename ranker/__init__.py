"""The L1 and L2 rankers (Figure 4): features of candidates, training, scoring, storing.

L1 is a linear model over a few features, one matrix product for all candidates of a query. L2
has two heads, engagement and relevance, over all features, mixed by a weight. This package takes
and returns arrays and knows nothing of indexes and encoders.
`docs/reference/ranking.md` explains the choices.
"""
