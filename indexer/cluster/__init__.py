"""The vectors and words of a generation's build in a Qdrant cluster, in place of files here.

A cluster holds the segment of a build, which never changes: `load` writes it, `segment` searches
it. What updates put on top of it is small and stays in files, as do the columns of all items.
"""
