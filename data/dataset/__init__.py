"""The catalogue as a data set: Parquet files in buckets, on this machine or under a URL."""
