"""The sample world: a seeded, synthetic, small Pinterest for machines without a data set."""
