"""The paper's tables on data of one's own: what each compares is trained under equal budgets.

A table is one TOML file (`spec`). Its models are trained on copies of a workspace (`base`) and
measured on the same held-out pairs (`pairs`, `runs`); `report` puts the paper's figures beside the
measured ones and says of each finding whether it holds.
"""
