"""What answers a query: encode, retrieve, merge, rank, blend."""
