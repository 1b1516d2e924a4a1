"""Reproducing tables: specs, what columns hold, resuming, verdicts, reports."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.splits import check_leak, time_split
from omnisearch.data.catalogue.vectors import open_all_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError, NothingToLearn
from omnisearch.encoders.config import preset_config
from omnisearch.encoders.models.query import small_backbone
from omnisearch.encoders.text_encoder import text_encoder
from omnisearch.encoders.training.wordpiece import train_wordpiece
from omnisearch.enrichment.text import embed_texts
from omnisearch.evaluation.judged import RELEVANT, judged_gains
from omnisearch.evaluation.reproduce.base import (
    base_workspace,
    copy_workspace,
    textless,
    with_fields,
)
from omnisearch.evaluation.reproduce.pairs import Column, all_columns
from omnisearch.evaluation.reproduce.plot import svg
from omnisearch.evaluation.reproduce.reproduce import Reproduce, reproduce_table
from omnisearch.evaluation.reproduce.runs import Run, run_hits
from omnisearch.evaluation.reproduce.spec import (
    STUDIES,
    TABLES,
    Finding,
    Model,
    Study,
    Table,
    load_study,
    load_table,
)
from omnisearch.evaluation.reproduce.studies import (
    five_grades,
    reproduce_classification,
    reproduce_relevance,
)
from omnisearch.evaluation.reproduce.table1 import reproduce_table1
from omnisearch.evaluation.reproduce.table_report import (
    CONFIRMED,
    CONTRADICTED,
    OPEN,
    Measured,
    markdown,
    reproduction,
)

TINY = {"steps": 6, "warmup_steps": 1, "valid_every": 3}


@pytest.fixture(scope="module")
def folder(tables_folder) -> Path:
    return tables_folder


def small_table(**changes) -> Table:
    models = (
        Model("SearchSage", "compat", train={"weight_learned": 0.0, "mix_query": 0.0}),
        Model("OmniSearchSage"),
    )
    finding = Finding("it finds more", "OmniSearchSage", "SearchSage")
    columns = ("pin/relevance", "query/click", "pin/of nothing")
    values = {"title": "A table", "columns": columns, "models": models, "findings": (finding,)}
    values |= {"pins": 300, "preset": "tiny", "train": TINY}
    return Table(**(values | changes))


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_the_paper_are_there_and_their_settings_are_known(name) -> None:
    table = load_table(name)
    for model in table.models:
        preset_config(table.preset, **(table.train | model.train))
    assert set(table.paper) <= set(table.columns)
    assert table.decides  # named before anything is measured
    assert {name for of in table.paper.values() for name in of} <= {m.name for m in table.models}
    budgets = {(preset_config(table.preset, **(table.train | m.train)).steps) for m in table.models}
    assert len(budgets) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = ", "cannot be read"),
        ('title = "x"\ncolumns = []\n', "no models"),
        ('title = "x"\ncolumns = []\n[[models]]\nspace = "learned"\n', "missing"),
        ('title = "x"\ncolumns = []\nmodels = 3\n', "models is of the wrong type"),
        ('title = "x"\ncolumns = []\npins = "many"\n[[models]]\nname = "a"\n', "pins"),
        ('title = "x"\ncolumns = []\nfindings = 3\n[[models]]\nname = "a"\n', "findings"),
        ('title = "x"\ncolumns = []\n[[models]]\nname = "a"\n[[models]]\nname = "a"\n', "Two"),
        ('title = "x"\ncolumns = []\n[[models]]\nname = "a"\n[paper]\nc = 3\n', "figures"),
        ('title = "x"\ncolumns = []\n[[models]]\nname = "a"\nspice = 1\n', "spice"),
        ('title = "x"\ncolumns = []\n[[models]]\nname = "a"\nspace = "x"\n', "not a space"),
        ('title = "x"\ncolumns = []\n[[models]]\nname = "a"\nfields = ["titel"]\n', "titel"),
        ('title = "x"\ncolumns = []\n[[models]]\nname = "a"\ntrain = {stepps = 1}\n', "stepps"),
        ('title = "x"\ncolumns = []\ndecides = ["c"]\n[[models]]\nname = "a"\n', "cannot decide"),
        (
            'title = "x"\ncolumns = []\n[[models]]\nname = "a"\n[[findings]]\nclaim = "c"\n'
            'model = "a"\nthan = "b"\n',
            "no model",
        ),
    ],
)
def test_a_table_that_cannot_be_says_what_is_wrong(tmp_path, text, said) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_table("mine", path)
    assert said in caught.value.what
    assert str(path) in (caught.value.where or "")


def test_a_file_without_models_changes_a_table_of_the_paper(tmp_path) -> None:
    path = tmp_path / "smaller.toml"
    path.write_text('pins = 500\npreset = "tiny"\ntrain = { steps = 20 }\n')
    usual, smaller = load_table("table4"), load_table("table4", path)
    assert (smaller.pins, smaller.preset, smaller.train) == (500, "tiny", {"steps": 20})
    assert (smaller.models, smaller.findings) == (usual.models, usual.findings)
    assert (smaller.columns, smaller.decides) == (usual.columns, usual.decides)
    with pytest.raises(InputError, match="no models"):
        load_table("mine", path)
    small, whole = load_study("relevance", path), load_study("relevance")
    assert small == replace(whole, pins=500, preset="tiny", train={"steps": 20})


def test_the_small_tables_are_all_tables_with_the_batches_that_their_models_name() -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "small_tables.toml"
    for name in TABLES:
        table, usual = load_table(name, path), load_table(name)
        assert table.pins < usual.pins and table.models == usual.models
        # Table 5 gives models as many pairs of their task as a batch of the usual size has.
        assert table.train["batch_pairs"] == preset_config(usual.preset).batch_pairs


def test_an_unknown_table_is_named() -> None:
    with pytest.raises(InputError, match="table9"):
        load_table("table9")
    with pytest.raises(InputError, match="cannot name"):
        load_table("../table2")


def test_columns_hold_the_held_out_pairs(folder) -> None:
    db = open_catalogue(folder / "base" / "catalogue.db")
    columns = all_columns(db)
    pins = {item["id"]: item for batch in read_items(db, "pin") for item in batch}
    relevant = {
        (query, key)
        for query, gains in judged_gains(db).items()
        for (entity, key), gain in gains.items()
        if entity == "pin" and gain >= RELEVANT
    }
    assert set(columns["pin/relevance"].pairs) == relevant
    by_country = [c.pairs for n, c in columns.items() if n.startswith("pin/relevance ")]
    assert {pair for pairs in by_country for pair in pairs} == relevant
    bare = columns["pin/relevance, no text"].pairs
    assert 0 < len(bare) < len(relevant)
    assert all(not (pins[key]["title"] and pins[key]["description"]) for _, key in bare)


def test_hidden_fields_are_gone_with_the_vectors_that_hold_them(folder, tmp_path) -> None:
    base = Workspace.open(folder / "base")
    copy = with_fields(base, tmp_path / "copy", ("title",))
    with (
        closing(open_catalogue(copy.catalogue)) as db,
        closing(open_catalogue(base.catalogue)) as before,
    ):
        items = [item for batch in read_items(db, "pin") for item in batch]
        assert any(item["title"] for item in items)
        assert not any(item["board_titles"] or item["engaged_queries"] for item in items)
        assert set(open_all_vectors(copy, db, "pin")) == {"image", "pinsage"}
        assert set(open_all_vectors(copy, db, "product")) == {"image"}
        there = open_all_vectors(base, before, "pin")["pinsage"]
        here = open_all_vectors(copy, db, "pin")["pinsage"]
        assert not np.array_equal(here.vectors, there.rows(here.ids)[0])
        assert any(item["board_titles"] for batch in read_items(before, "pin") for item in batch)
        check_leak(db, time_split(db))


def test_the_feature_text_is_made_again_of_what_is_left(folder, tmp_path) -> None:
    base = copy_workspace(Workspace.open(folder / "base"), tmp_path / "base")
    encoder, words = tmp_path / "encoder", ["blue oak chair", "a photo of a red dress"]
    tokeniser = train_wordpiece(words, 200)
    tokeniser.save_pretrained(encoder)
    small_backbone(preset_config("tiny"), len(tokeniser)).save_pretrained(encoder)
    with closing(open_catalogue(base.catalogue)) as db:
        embed_texts(base, db, str(encoder))
        whole = open_all_vectors(base, db, "pin")["text"]
    titles = with_fields(base, tmp_path / "titles", ("title",))
    with closing(open_catalogue(titles.catalogue)) as db:
        found = open_all_vectors(titles, db, "pin")["text"]
        assert found.ids and set(found.ids) <= set(whole.ids)
        assert not np.allclose(found.vectors, whole.rows(found.ids)[0], atol=1e-3)
        assert embed_texts(titles, db, str(encoder))["computed"] == 0  # kept beside the base
    with closing(open_catalogue(base.catalogue)) as db:
        assert embed_texts(base, db, str(encoder))["computed"] == 0
    nothing = with_fields(base, tmp_path / "nothing", ("domain",))
    with closing(open_catalogue(nothing.catalogue)) as db:
        assert "text" not in open_all_vectors(nothing, db, "pin")
        assert text_encoder(db) is None


def test_no_text_reaches_the_vectors_of_a_model_without_text(folder, tmp_path) -> None:
    first = textless(Workspace.open(folder / "base"))
    other = base_workspace(tmp_path, Workspace.open(folder / "base"), 0)
    with closing(open_catalogue(other.catalogue)) as db, db.conn:
        db.conn.execute("UPDATE pins SET title = 'a sofa', caption = id, description = NULL")
    second = textless(other)
    vectors = []
    for workspace in (first, second):
        with closing(open_catalogue(workspace.catalogue)) as db:
            vectors.append(np.array(open_all_vectors(workspace, db, "pin")["pinsage"].vectors))
    # Threads sum in any order; a title that reached the vectors would turn them.
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-4)


def test_a_folder_of_someone_elses_is_left_alone(tmp_path) -> None:
    thesis = tmp_path / "base" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    with pytest.raises(InputError, match="not written by `omnisearch reproduce`"):
        base_workspace(tmp_path, None, 300)
    assert thesis.read_text() == "mine"


def test_a_table_is_trained_once_and_written(folder) -> None:
    table = small_table()
    trainings: list[str] = []

    def on_run(number: int, total: int, name: str):
        def on_step(report) -> None:
            trainings.append(name)

        return on_step

    made = reproduce_table("mine", table, Reproduce(folder, seeds=2), on_run)
    assert len(set(trainings)) == 4
    trainings.clear()
    assert reproduce_table("mine", table, Reproduce(folder, seeds=2), on_run) == made
    assert not trainings
    assert set(made.figures) == {"SearchSage", "OmniSearchSage"}
    assert set(made.figures["SearchSage"]) == {"pin/relevance", "query/click"}
    assert not list((folder / "work").iterdir())
    stored = orjson.loads((folder / "mine.json").read_bytes())
    figure = stored["figures"]["OmniSearchSage"]["pin/relevance"]
    assert figure["mean"] == pytest.approx(np.mean(figure["seeds"]))
    text = (folder / "mine.md").read_text()
    assert text.startswith("# A table\n") and "Synthetic data" in text
    assert "pin/of nothing" not in text


def test_a_model_with_nothing_to_train_on_is_left_out(folder, tmp_path) -> None:
    copy = copy_workspace(Workspace.open(folder / "base"), tmp_path / "no-related-queries")
    with closing(open_catalogue(copy.catalogue)) as db, db.conn:
        db.conn.execute("DELETE FROM engagements WHERE entity = 'query'")
    queries = {"mix_pin": 0.0, "mix_product": 0.0, "mix_offsite": 0.0}
    models = (Model("Query only", train=queries), Model("OmniSearchSage"))
    table = small_table(models=models, findings=(Finding("c", "OmniSearchSage", "Query only"),))
    made = reproduce_table("t", table, Reproduce(tmp_path / "out", copy, seeds=1))
    assert set(made.figures) == {"OmniSearchSage"} and not made.verdicts
    assert any(note.startswith("Query only is skipped") for note in made.notes)


def test_a_killed_training_goes_on(folder) -> None:
    run = Run(None, preset_config("tiny", **(TINY | {"seed": 9})))
    base = Workspace.open(folder / "base")
    with closing(open_catalogue(base.catalogue)) as db:
        columns = {"pin/relevance": all_columns(db)["pin/relevance"]}
    steps: list[int] = []

    def stop(report) -> None:
        steps.append(report.step)
        if report.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_hits(folder, base, columns, run, stop)
    run_hits(folder, base, columns, run, lambda report: steps.append(report.step))
    assert steps == [1, 2, 3, 4, 4, 5, 6]


def test_runs_of_other_data_are_not_mixed_in(folder) -> None:
    with pytest.raises(InputError, match="other data"):
        base_workspace(folder, None, 301)
    with pytest.raises(InputError, match="other data"):
        base_workspace(folder, None, 300, picture_noise=2.0)


def verdict_of(better: float, worse: float, margin: float = 0.0, pairs: int = 4000) -> str:
    random = np.random.default_rng(0)
    column = Column("pin", [(f"q{n // 2}", str(n)) for n in range(pairs)])
    models = (Model("a"), Model("b"))
    claim = "a is\nbetter\\|<b>"
    table = small_table(
        columns=("c",), models=models, findings=(Finding(claim, "a", "b", (), margin),)
    )
    hits = {
        name: [{"learned:c": random.random(pairs) < rate} for _ in range(3)]
        for name, rate in (("a", better), ("b", worse))
    }
    made = reproduction("t", table, [Measured({"c": column}, hits)], [])
    (verdict,) = made.verdicts
    assert verdict.gain == pytest.approx(better / worse - 1, abs=0.08)
    [row] = [line for line in markdown(made).splitlines() if line.startswith("| a is")]
    assert row.startswith(r"| a is better\\\|&lt;b> | c | ")
    return verdict.verdict


def test_a_finding_is_confirmed_only_where_the_interval_and_every_seed_agree() -> None:
    assert verdict_of(0.5, 0.4) == CONFIRMED
    assert verdict_of(0.4, 0.5) == CONTRADICTED
    assert verdict_of(0.5, 0.5) == OPEN
    assert verdict_of(0.5, 0.5, margin=-0.1) == CONFIRMED
    assert verdict_of(0.5, 0.48, pairs=60) == OPEN


def test_the_plot_shows_ours_and_the_papers() -> None:
    pytest.importorskip("matplotlib")
    column = Column("pin", [("q", "1"), ("q", "2")])
    table = small_table(columns=("c",), paper={"c": {"SearchSage": 0.4}})
    hits = {
        "SearchSage": [{"compat:c": np.array([True, False])}],
        "OmniSearchSage": [{"learned:c": np.array([True, True])}],
    }
    picture = svg(reproduction("t", table, [Measured({"c": column}, hits)], []))
    assert picture is not None and picture.startswith(b"<?xml") and b"</svg>" in picture


@pytest.fixture(scope="module")
def study() -> Study:
    return Study("A study", pins=300, preset="tiny", train=TINY, queries=12, k=4)


def test_judged_relevance_with_simulated_judges(folder, study) -> None:
    text, ways = reproduce_relevance(study, Reproduce(folder, seeds=1))
    of = {(way["reads"], way["meets"]): way["reports"] for way in ways}
    ((made,), (partly,), (native,), _) = of.values()
    assert len(of) == 4

    def relevant(report, system):
        rows = {row["group"]: row for row in report["metrics"]["relevant"]}
        return rows["all queries"]["systems"][system]["mean"]

    for system in ("token", "embedding"):  # more results meet most of a query than all of it
        assert relevant(partly, system) > relevant(made, system)
    # Captions, board titles and engaged queries are what queries are found by in this world.
    assert relevant(native, "token") < relevant(made, "token")
    assert native["pairs"] != made["pairs"]
    assert made["systems"] == ["token", "embedding"] or made["systems"] == ("token", "embedding")
    assert made["lacking"] == 0 and made["measured"] == 12
    # The simulated judges err, but follow one truth.
    assert 0.6 < made["grades"]["raw"] < 1 and made["grades"]["kappa"] > 0.3
    assert "| the paper | +10% | 0.89 |" in text
    assert (folder / "relevance.md").read_text() == text
    again, _ = reproduce_relevance(study, Reproduce(folder, seeds=1))
    assert again == text


def test_classification_of_what_queries_are_about(folder, study) -> None:
    text, made = reproduce_classification(study, Reproduce(folder, seeds=1))
    assert len(made["nodes"]) == 3
    assert {system["name"] for system in made["systems"]} >= {"majority", "query tower, seed 0"}
    assert orjson.loads((folder / "classification.json").read_bytes())["nodes"] == made["nodes"]
    assert text.startswith("# A study\n")


def test_a_workspace_of_ones_own_has_people_as_judges_and_a_file_of_labels(folder, study) -> None:
    mine = Reproduce(folder / "other", Workspace.open(folder / "base"), seeds=1)
    with pytest.raises(InputError, match="simulated judges"):
        reproduce_relevance(study, mine)
    with pytest.raises(InputError, match="no labels"):
        reproduce_classification(study, mine)


@pytest.mark.parametrize("name", STUDIES)
def test_the_studies_of_the_paper_are_there(name) -> None:
    found = load_study(name)
    preset_config(found.preset, **found.train)


def test_table_1_counts_the_pairs_of_a_log(trained, tmp_path) -> None:
    text, made = reproduce_table1(load_study("table1"), Reproduce(tmp_path, trained))
    with closing(open_catalogue(trained.catalogue).conn) as connection:
        rows = connection.execute(
            "SELECT query, item_id, count FROM engagements WHERE entity = 'pin' AND time < ? "
            "AND action IN ('save', 'long_click') AND query NOT IN "
            "(SELECT id FROM queries WHERE split IN ('valid', 'test'))",
            [time_split(open_catalogue(trained.catalogue)).train_until],
        ).fetchall()
    pairs = {row[:2] for row in rows}
    found = made["pairs"]["pin"]
    assert found["pairs"] == len(pairs) > found["kept"] > 0 or found["kept"] == len(pairs)
    assert found["engagements"] == sum(count for *_, count in rows)
    assert f"| {len(pairs):,} | {found['kept']:,} | 1.5B |" in text
    assert (tmp_path / "table1.md").read_text() == text
    assert not (tmp_path / "base").exists()  # a log is read where it is


def test_table_1_of_an_empty_log_says_what_to_import(tmp_path) -> None:
    empty = Workspace.create(tmp_path / "empty")
    open_catalogue(empty.catalogue, create=True).conn.close()
    with pytest.raises(NothingToLearn, match="Import engagements"):
        reproduce_table1(load_study("table1"), Reproduce(tmp_path / "out", empty))
    assert not (tmp_path / "out").exists()


def test_five_grades_keep_their_order_and_mark_another_language_down() -> None:
    grade = np.array([0, 1, 2, 3, 3])
    foreign = np.array([True, False, True, False, True])
    assert five_grades(grade, foreign).tolist() == [1, 2, 3, 5, 4]
