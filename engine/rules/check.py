"""Checking a file of rules, alone and against the items of the live generation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.engine.attributes import Attributes, attribute_kinds
from omnisearch.engine.rules.acting import RulesOfItems, unmet
from omnisearch.engine.rules.file import Fault, read_rules
from omnisearch.engine.rules.matching import Matching
from omnisearch.engine.rules.rule import Rule
from omnisearch.indexer.generation import Generation


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes:
        content: the file. rules: those that are right. faults: all that are not.
        missing: what rules name that the live generation does not have; None without a generation.
    """

    content: bytes
    rules: list[Rule]
    faults: list[Fault]
    missing: list[Fault] | None


def check_rules(path: Path, workspace: Workspace) -> Checked:
    """Check a file of rules; raises InputError if it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"The file of rules cannot be read ({error.strerror}).", where=str(path)
        ) from error
    rules, faults = read_rules(content)
    return Checked(content, rules, faults, missing_of(rules, workspace))


def missing_of(rules: Sequence[Rule], workspace: Workspace) -> list[Fault] | None:
    """What rules name that the live generation does not have; None without a generation."""
    try:
        generation = Generation.open(workspace, verify=False, spaces=False, encoder=False)
    except NotReady:
        return None
    tables = generation.tables
    attributes = Attributes(tables, attribute_kinds(workspace))
    items = RulesOfItems(rules, Matching(rules), tables, attributes).missing
    found = [Fault(rule.line, "item", f"{what[0].upper()}{what[1:]}.") for rule, what in items]
    found += [
        Fault(rule.line, "filter", f"{what[0].upper()}{what[1:]}.")
        for rule, what in unmet(rules, tables, attributes)
    ]
    return sorted(found, key=lambda fault: fault.line)
