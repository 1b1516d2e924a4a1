"""Importing files into the catalogue.

`files.import_file` reads one file of rows, `folders.import_folder` a folder of such files,
`vectors.import_vectors` item vectors, `feedback.import_feedback` the feedback of a service.
`formats` lists the formats of others: public data sets and feeds of shop systems. Each file is one
transaction. Bad rows are refused with line, field and reason; importing a file again changes
nothing.
"""
