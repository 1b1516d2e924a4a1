"""Import of JSONL, CSV, Parquet and the publishers' own formats into the catalogue."""
