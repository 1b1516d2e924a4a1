"""Judging in the terminal: what is asked, undone, resumed, and what survives a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judgings import answer, make_judging, make_pair
from rich.console import Console

from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.evaluation.judged import RELEVANT
from omnisearch.evaluation.judging.answers import all_answers, answers_of, open_log, still_to_ask
from omnisearch.evaluation.judging.draw import pair_id
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.scale import FORMS, GAINS, RELEVANT_FROM, RESULTS
from omnisearch.evaluation.judging.session import ask, question


@pytest.fixture
def judging(tmp_path: Path) -> Judging:
    """Five pairs: a, b and c for 'sofa', d and e for 'lamp'."""
    return make_judging(tmp_path, {"sofa": ("ab", "bc"), "lamp": ("de", "ed")})


def keys(typed: Iterable[str]) -> Callable[[], str]:
    left = iter(typed)
    return lambda: next(left, "")


def session(judging: Judging, typed: str, judge: str = "anna") -> tuple[int, str]:
    """What is left, and what the judge saw."""
    stream = StringIO()
    console = Console(file=stream, width=200)
    return ask(judging, judge, [], keys(typed), console.print), stream.getvalue()


def grades(judging: Judging, judge: str = "anna") -> dict[str, int | None]:
    """Title of the pair → grade."""
    return {judging.pairs[p].title: grade for p, grade in answers_of(judging, judge).items()}


def test_every_key_answers_the_pair_on_the_screen(judging: Judging) -> None:
    left, seen = session(judging, "54?21")
    assert left == 0
    assert grades(judging) == {"a": 5, "b": 4, "c": None, "d": 2, "e": 1}
    assert [f"{n} of 5 pairs done" in seen for n in range(6)] == [True] * 5 + [False]
    assert all(grade.name in seen for grade in FORMS[RESULTS].grades)
    assert "token" not in seen and "full" not in seen


def test_quitting_and_going_on(judging: Judging) -> None:
    assert session(judging, "5q")[0] == 4
    left, seen = session(judging, "3")  # the end of the input quits too
    assert left == 3
    assert "1 of 5 pairs done" in seen and "0 of 5" not in seen
    assert grades(judging) == {"a": 5, "b": 3}


def test_the_last_answer_can_be_taken_back_again_and_again(judging: Judging) -> None:
    session(judging, "u543uu2q")
    assert grades(judging) == {"a": 5, "b": 2}
    session(judging, "uu1q")  # also what an earlier session gave
    assert grades(judging) == {"a": 1}


def test_other_keys_do_nothing(judging: Judging) -> None:
    _, seen = session(judging, "06x\x1b7q")
    assert grades(judging) == {}
    assert seen.count("Press 1 to 5") == 5


def test_only_pairs_that_still_need_judgments_are_asked_about(judging: Judging) -> None:
    for judge in ("ben", "cleo"):
        session(judging, "555", judge)
    session(judging, "5?q", "dora")  # "cannot tell" is no judgment
    titles = [pair.title for pair in still_to_ask(judging, "anna")]
    assert titles == ["b", "c", "d", "e"]
    assert [pair.title for pair in still_to_ask(judging, "dora")] == ["c", "d", "e"]


def test_what_others_answer_meanwhile_is_seen(judging: Judging) -> None:
    def others_finish_b() -> str:
        for judge in ("ben", "cleo", "dora"):
            answer(judging, judge, {("sofa", "b"): 4})
        return "5"

    typed = iter([others_finish_b, lambda: "3", lambda: "q"])
    ask(judging, "anna", [], lambda: next(typed)(), lambda _: None)
    assert grades(judging) == {"a": 5, "c": 3}


def test_a_line_cut_short_by_a_crash_is_no_answer_and_costs_no_other(judging: Judging) -> None:
    session(judging, "54")
    path = judging.answers / "anna.jsonl"
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1]) + 1):
        path.write_bytes(whole[:-cut])
        assert grades(judging) == {"a": 5}
    session(judging, "2q")
    assert grades(judging) == {"a": 5, "b": 2}
    assert len(path.read_bytes().splitlines()) == 2


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        '{"pair": "p0", "grade": 3}',
        '{"grade": 3}',
        '{"pair": PAIR}',
        '{"pair": PAIR, "grade": 6}',
        '{"pair": PAIR, "grade": "5"}',
        '{"pair": PAIR, "grade": true}',
        '{"pair": PAIR, "grade": 1.0}',
        '{"pair": PAIR, "grade": []}',
    ],
)
def test_a_damaged_line_is_named(judging: Judging, line: str) -> None:
    session(judging, "5")
    path = judging.answers / "anna.jsonl"
    pair = orjson.dumps(next(iter(judging.pairs))).decode()
    path.write_text(path.read_text() + line.replace("PAIR", pair) + "\n")
    with pytest.raises(Corrupt, match="not a valid answer") as caught:
        all_answers(judging)
    assert caught.value.where == f"{path}:2"


def test_a_judge_works_in_one_window_at_a_time(judging: Judging) -> None:
    with open_log(judging, "anna"):
        with pytest.raises(InputError, match="another window"):
            session(judging, "5")
        session(judging, "5", "ben")
    assert set(all_answers(judging)) == {"ben"}


@pytest.mark.parametrize("judge", ["", "../anna", "a/b", ".", "a b", "\0"])
def test_a_judges_name_is_a_file_name(judging: Judging, judge: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a judge"):
        session(judging, "5", judge)


def test_names_in_any_script_will_do(judging: Judging) -> None:
    session(judging, "5", "Анна")
    assert set(all_answers(judging)) == {"Анна"}


STEPS = st.lists(st.sampled_from("12345?u"), max_size=30)


@given(STEPS)
def test_answers_are_those_of_a_plain_stack(tmp_path_factory: Any, typed: list[str]) -> None:
    """A judge's keys, against a list that is pushed to and popped from."""
    judging = make_judging(tmp_path_factory.mktemp("j"), {"sofa": ("abcdefgh", "hijklmnop")}, k=9)
    session(judging, "".join(typed))
    stack: list[int | None] = []
    for key in typed:
        if len(stack) == len(judging.pairs):
            break
        if key != "u":
            stack.append(None if key == "?" else int(key))
        elif stack:
            stack.pop()
    order = [pair.title for pair in judging.pairs.values()]
    assert grades(judging) == dict(zip(order, stack, strict=False))


def test_texts_are_shown_as_they_are_and_pictures_with_their_place(
    judging: Judging, tmp_path: Path
) -> None:
    (tmp_path / "a.svg").write_text("<svg/>")
    pair = make_pair(
        *("sofa", "x"),
        title="[bold]red[/] sofa",
        description="soft",
        price=1234.5,
        currency="USD",
        image="a.svg",
        link="https://example.org/x",
    )
    stream = StringIO()
    Console(file=stream, width=200).print(question(judging, pair, 5, [tmp_path]))
    for text in ("[bold]red[/] sofa", "soft", "USD 1,234.50", str(tmp_path / "a.svg"), pair.link):
        assert text in stream.getvalue()


def test_grades_fold_into_relevant_or_not_as_elsewhere_in_the_evaluation() -> None:
    form = FORMS[RESULTS]
    for value in form.values:
        assert (value >= RELEVANT_FROM) == (GAINS[value] >= RELEVANT)
        assert form.parse(str(value)) == value
    gains = [GAINS[value] for value in form.values]
    assert gains == sorted(gains) and (gains[0], gains[-1]) == (0.0, 1.0)


def test_pair_ids_are_no_numbers_to_a_spreadsheet() -> None:
    ids = {pair_id("sofa", ("pin", str(n))) for n in range(2000)}
    assert len(ids) == 2000
    assert all(name[0] == "p" and name.isalnum() for name in ids)
