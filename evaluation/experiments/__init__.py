"""Experiments on traffic: variants of the search, who gets which, and what came of it (§5.2).

What there is: `definition`, `check` and `store`; who gets what: `assignment`; what users did:
`searches`, `new_items`, `measures`, `segments` and `report`, and on disk meanwhile: `scratch`. The
statistics are pure functions over numpy arrays: metrics of two variants and their difference
(`ratio`, `percentiles`, `cuped`), looking every day (`sequential`), how many users it takes and
whether they were split as planned (`samples`), many metrics at once (`several`), and two rankers in
one list (`interleaving`).
"""
