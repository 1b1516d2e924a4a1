"""Statistics of experiments with users: metrics of two variants and their difference (`ratio`,
`percentiles`, `cuped`), looking every day (`sequential`), how many users it takes and whether they
were split as planned (`samples`), many metrics at once (`several`), and two rankers in one list
(`interleaving`). Pure functions over numpy arrays."""
