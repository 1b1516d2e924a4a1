"""Files into the catalogue.

`files.import_file` reads one file of rows, `folders.import_folder` a folder of them,
`vectors.import_vectors` vectors of items, `feedback.import_feedback` what a service was told.
`formats` reads what others wrote in their own form: public data sets and feeds of shop systems.
A file is one transaction: bad rows are refused with line, field and reason, and a repeated import
changes nothing.
"""
