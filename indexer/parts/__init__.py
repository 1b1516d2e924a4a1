"""The parts of a generation: table, tokens, words, vectors and spelling, written and opened."""

REBUILD = "Run `omnisearch index rollback` or `omnisearch index build`."
