"""What commands print: words and dates that a reader knows, and a failure that is one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from commandline import omnisearch
from typer.testing import CliRunner

from omnisearch.cli import cache, export, index
from omnisearch.cli.main import app
from omnisearch.cli.search import show
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.engine.response import Response
from omnisearch.engine.search import SearchEngine
from omnisearch.enrichment.graph.embeddings import Outcome
from omnisearch.enrichment.told import sentences


def run(*words: object) -> str:
    """What a command that succeeds prints, piped, 80 columns wide."""
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of two products, found by their words alone."""
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "products.csv").write_text("id,title\na,A sofa\nb,A lamp\n")
    run("import", folder / "products.csv", "-w", folder / "shop")
    return folder / "shop"


def test_a_count_has_the_number_of_its_thing() -> None:
    assert [counted(n, "rule") for n in (0, 1, 1200)] == ["0 rules", "1 rule", "1,200 rules"]
    assert [counted(n, "query", "queries") for n in (1, 2)] == ["1 query", "2 queries"]


def test_one_of_a_thing_is_told_in_the_singular(shop: Path, tmp_path: Path, capsys) -> None:
    show(Response("lamp", "lamp", [], [], 1, 2.5, 1, 1, page=2))
    assert "1 item has all words of the query; 1 result of gen" in capsys.readouterr().out
    assert str(Outcome(1, "trained")) == "1 vector (trained)"
    log = tmp_path / "engagements.csv"
    log.write_text("time,query,entity,item_id,action\n2026-01-02,sofa,product,a,click\n")
    shutil.copytree(shop, tmp_path / "shop")
    run("import", log, "-w", tmp_path / "shop")
    assert "1 event, 2026-01-02" in run("status", "-w", tmp_path / "shop")


@pytest.mark.parametrize("command", ["stats", "clear"])
def test_the_cache_of_no_workspace_is_an_error(command: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["cache", command, "-w", str(tmp_path / "none")])
    assert isinstance(done.exception, NotReady) and "omnisearch import" in done.exception.how
    assert not (tmp_path / "none").exists()


def test_a_wrong_url_of_the_cache_is_told_before_a_service_starts(shop: Path, monkeypatch) -> None:
    monkeypatch.setenv("OMNISEARCH_CACHE_URL", "localhost:6379")
    done = CliRunner().invoke(app, ["serve", "-w", str(shop)])
    assert isinstance(done.exception, InputError) and "redis://host:6379/0" in done.exception.how


def test_the_cache_is_told_in_words_and_dates(shop: Path) -> None:
    said = run("cache", "stats", "-w", shop)
    assert "embeddings kept" in said and "30 days" in said and "_" not in said.split("\n", 1)[1]
    assert {"entries", "oldest_days"} <= json.loads(run("cache", "stats", "-w", shop, "--json"))[
        "data"
    ].keys()
    assert cache._ago(0.0).endswith(" UTC") and cache._ago(None) is None


def test_rules_are_counted_and_without_any_there_is_no_empty_table(
    shop: Path, tmp_path: Path
) -> None:
    said = run("rules", "list", "-w", shop)
    assert said.startswith("No rules are live.") and "rules apply" in said and "━" not in said
    rules = tmp_path / "rules.toml"
    rules.write_text('version = 1\n[[hide]]\nquery = "sofa"\nitem = "product/a"\n')
    assert "1 rule, no fault." in run("rules", "check", rules, "-w", shop)
    assert "1 rule is live, as version 1." in run("rules", "apply", rules, "-w", shop)


def test_entities_of_an_index_are_in_the_plural(monkeypatch, capsys) -> None:
    kinds = {"product": {"rows": 156}, "pin": {"rows": 0}, "query": {"rows": 1}}
    made = {"number": 1, "live": True, "created_at": 0, "entities": kinds, "spaces": {}}
    found = {"generations": [{**made, "checkpoint": "0" * 16}]}
    monkeypatch.setattr("omnisearch.indexer.verify.status", lambda space: found)
    monkeypatch.setattr("omnisearch.data.workspace.Workspace.open", lambda root: root)
    index.status(Path("shop"))
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "156 products" in said and "1 query" in said and "1970-01-01" in said


def test_an_enricher_says_dates_and_words() -> None:
    counts = {"items_changed": 1200, "engaged_until": 1_700_000_000, "train_again": True}
    assert sentences("queries", counts) == [
        "enrich queries: items changed 1,200, engaged until 2023-11-14 22:13 UTC"
    ]
    made = {"pinsage": Outcome(0, "nothing"), "itemsage": Outcome(1200, "trained")}
    assert sentences("graph", made) == [
        "enrich graph: pinsage no vectors, itemsage 1,200 vectors (trained)"
    ]
    (line,) = sentences("tune", {"mrr_e5": 0.1, "mrr_before": 0.1, "mrr_after": 0.2, "dim": 384})
    assert line == (
        "enrich tune: mean reciprocal rank of e5 0.1, mean reciprocal rank before 0.1, after 0.2, "
        "dimensions 384"
    )


def test_an_export_without_judgments_says_so(shop: Path, tmp_path: Path) -> None:
    said = run("export", "beir", tmp_path / "out", "-w", shop)
    assert "2 documents, 0 queries, 0 judgments" in said and "There are no judgments" in said


def test_the_loss_of_an_export_is_a_share() -> None:
    assert export._percent(0.0049) == "0.49%" and export._percent(None) is None


def test_a_search_without_results_says_why_and_shows_no_empty_table(shop, monkeypatch) -> None:
    def found(total: int) -> SimpleNamespace:
        response = Response("lamp", "lamp", [], [], 1, 2.5, total, 0, page=3)
        return SimpleNamespace(search=lambda *words: response)

    for total, words, why in (
        (6, ("--page", 3), "Page 3 is beyond the last: earlier pages have all results."),
        (0, ("--brand", "x"), "Nothing that passes the filters fits the query"),
        (0, (), "No item has all words of the query; 0 results"),
    ):
        monkeypatch.setattr(SearchEngine, "open", lambda *at, total=total, **of: found(total))
        said = run("search", "lamp", *words, "-w", shop)
        assert why in " ".join(said.split()) and "━" not in said
        assert ("passes the filters" in said) == ("--brand" in words)


def test_the_name_of_a_language_is_refused_as_a_filter_as_for_suggestions(shop: Path) -> None:
    """As a code of no item it let nothing pass, and the filters were told as the reason."""
    done = CliRunner().invoke(app, ["search", "lamp", "--language", "german", "-w", str(shop)])
    assert isinstance(done.exception, InputError)
    assert done.exception.what == "language must be a code of two or three letters, got 'german'."


def test_an_encoder_that_is_missing_is_trained_under_its_name(shop: Path) -> None:
    done = CliRunner().invoke(app, ["index", "build", "--name", "warm", "-w", str(shop)])
    assert isinstance(done.exception, NotReady)
    assert done.exception.how == "Run `omnisearch train --name warm`."


def test_without_a_log_no_day_of_1970_is_named(shop: Path) -> None:
    done = CliRunner().invoke(app, ["train", "--preset", "tiny", "-w", str(shop)])
    assert isinstance(done.exception, NotReady)
    assert "no engagements" in done.exception.what and "1970" not in str(done.exception)


def test_no_line_is_broken_in_a_pipe(tmp_path: Path) -> None:
    """A path that is broken in two cannot be copied, nor found by a program."""
    folder = tmp_path / ("a long name of a folder " * 4)
    folder.mkdir()
    done = omnisearch("import", folder / "pins.csv", "-w", tmp_path / "w", check=False)
    assert done.stderr == f"Error: {folder}/pins.csv: There is no such file or folder.\n"
    (folder / "pins.csv").write_text("id,title\np1,One\np2\n")
    done = omnisearch("import", folder / "pins.csv", "-w", folder / "shop")
    rejects = folder / "shop" / "rejects" / "1-pins.csv.jsonl"
    assert f"pins.csv: Each is listed in {rejects}.\n" in done.stdout
