"""Runs many commands in one process: a signal that ends it ends the test, not pytest."""

from __future__ import annotations

import contextlib
import io
import json
import sys

from omnisearch.cli.main import main

results = []
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    sys.argv = ["omnisearch", *words]
    code = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    results.append((code, said.getvalue()))
print(json.dumps(results))
