"""The routes of the HTTP API and of the pages, a file for each group."""
