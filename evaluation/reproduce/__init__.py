"""Reproduces the paper's tables on your own data, training all models with equal budgets.

A table is one TOML file (`spec`). Its models are trained on copies of a workspace (`base`) and
measured on the same held-out pairs (`pairs`, `runs`); `table_report` compares the figures with the
paper's and reports whether each finding holds.
"""
