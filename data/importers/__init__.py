"""Files into the catalogue: JSONL, CSV, Parquet, vectors, publishers' formats, the BEIR layout.

`load.import_file` and `load.import_folder` read a file as one transaction, refuse bad rows with
line, field and reason, and change nothing when repeated; `vectors.import_features` does the same
for continuous features, `adapters.import_published` for public data sets, `beir` goes both ways.
"""
