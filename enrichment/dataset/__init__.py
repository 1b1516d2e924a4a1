"""Enrichment of a data set: what the enrichers 'boards' and 'queries' do, bucket by bucket.

The merging, capping, ordering and hashing are those of `enrichment.boards` and
`enrichment.engaged_queries`; here is what brings them a bucket at a time.
"""
