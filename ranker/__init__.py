"""The L1 and L2 rankers: features, training, scoring."""
