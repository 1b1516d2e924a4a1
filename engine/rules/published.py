"""Published rules: `rules/<number>/` with the file and what was read of it, the live ones named by
`rules/CURRENT`. Versions are kept, so that an earlier one can be put back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import (
    Kind,
    entry_of,
    manifest_of,
    numbers_in,
    read_manifest,
    read_number,
    read_verified,
    sweep,
    write_pointer,
)
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.locks import publish_lock
from omnisearch.data.workspace.reading import check_shape, reading
from omnisearch.engine.rules.matching import Matching
from omnisearch.engine.rules.rule import Rule, rule_from_json

RULES = Kind("rules", 1, again="Run `omnisearch rules apply FILE` or `omnisearch rules rollback`.")
RETAINED = 20  # versions
_SOURCE, _READ = "rules.toml", "rules.json"


@dataclass(frozen=True, eq=False)
class Rules:
    """One version of the rules."""

    number: int
    rules: tuple[Rule, ...]

    @cached_property
    def matching(self) -> Matching:
        """Which of them are for a query."""
        return Matching(self.rules)


def publish_rules(workspace: Workspace, content: bytes, rules: list[Rule]) -> int:
    """Make rules live; `content` is their file. Returns the number of their version."""
    files = {_SOURCE: content, _READ: orjson.dumps([rule.to_json() for rule in rules])}
    entries = {name: entry_of(content) for name, content in files.items()}
    facts = {"created_at": int(time.time()), "rules": len(rules)}
    files[RULES.manifest] = manifest_of(RULES, facts, entries)
    workspace.rules.mkdir(exist_ok=True)
    with publish_lock(workspace):
        number = max(numbers_in(workspace.rules), default=0) + 1
        with new_folder(workspace.rules / str(number)) as folder:
            for name, written in files.items():
                (folder / name).write_bytes(written)
        write_pointer(workspace.current_rules, number)
        sweep(workspace.rules, [str(kept) for kept in numbers_in(workspace.rules)[-RETAINED:]])
    return number


def roll_back(workspace: Workspace, number: int | None = None) -> int:
    """Make an earlier version live, by default the one before the live one; returns its number.

    Raises:
        InputError: there is no such version. Corrupt: it is damaged.
    """
    with publish_lock(workspace):
        live, numbers = live_rules(workspace), numbers_in(workspace.rules)
        if number is None:
            earlier = [each for each in numbers if live is None or each < live]
            number = max(earlier, default=0)
        if number not in numbers:
            known = f"Existing versions: {', '.join(map(str, numbers))}." if numbers else ""
            what = (
                f"There is no version {number} of the rules."
                if number
                else ("There is no earlier version of the rules.")
            )
            raise InputError(what, where="--number", how=known)
        load_rules(workspace, number)
        write_pointer(workspace.current_rules, number)
    return number


def remove_rules(workspace: Workspace) -> bool:
    """Let no rules be live; returns whether some were. All versions stay."""
    with publish_lock(workspace):
        live = workspace.current_rules.exists()
        workspace.current_rules.unlink(missing_ok=True)
    return live


def live_rules(workspace: Workspace) -> int | None:
    """The number of the live version; None without rules. Raises Corrupt."""
    return read_number(workspace.current_rules, RULES)


def load_rules(workspace: Workspace, number: int | None = None) -> Rules | None:
    """A version of the rules, the live one by default; None if none is live.

    Raises:
        Corrupt: a file is missing or was changed.
    """
    number = live_rules(workspace) if number is None else number
    if number is None:
        return None
    folder = workspace.rules / str(number)
    content = read_verified(folder, RULES, read_manifest(folder, RULES), _READ)
    with reading("The file of rules", folder / _READ, RULES.again):
        values = orjson.loads(content)
        check_shape(values, [dict])
        return Rules(number, tuple(map(rule_from_json, values)))


def source_of(workspace: Workspace, number: int) -> bytes:
    """The file of a version, as it was applied; raises Corrupt."""
    folder = workspace.rules / str(number)
    return read_verified(folder, RULES, read_manifest(folder, RULES), _SOURCE)


def versions(workspace: Workspace) -> list[dict[str, Any]]:
    """Each version's number, time (seconds since 1970), number of rules, and whether it is live."""
    live = live_rules(workspace)
    found = []
    for number in numbers_in(workspace.rules):
        folder = workspace.rules / str(number)
        facts = read_manifest(folder, RULES)
        with reading("The manifest of rules", folder / RULES.manifest, RULES.again):
            check_shape(facts, {"created_at": int, "rules": int})
        told = {"created_at": facts["created_at"], "rules": facts["rules"]}
        found.append({"number": number, **told, "live": number == live})
    return found
