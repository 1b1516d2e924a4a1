"""The vectors and words of a generation's build in a Qdrant cluster, in place of files here.

A cluster has the segment of a build, which never changes: `indexer.loading` writes it, `segment`
searches it. What updates put on top is small and stays in files, as do the columns of all items.
"""
