"""Publishers' formats: small files in their form, with the faults that they have."""

from __future__ import annotations

import json

import pytest
from importing import import_named, refusals, table

from omnisearch.data.catalogue.schema import get_meta, open_catalogue
from omnisearch.data.importers.datasets.beir import export_beir, import_beir
from omnisearch.data.importers.datasets.home_depot import derived_actions
from omnisearch.data.importers.datasets.labels import split_of
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError


def by_split(texts, split):
    """One of the texts whose query falls into a split."""
    return next(text for text in texts if split_of(normalise_query(text)) == split)


NUMBERED = [f"query {i}" for i in range(100)]
TRAIN = by_split(NUMBERED, "train")
TEST = by_split(NUMBERED, "test")


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def note(workspace, key):
    db = open_catalogue(workspace.catalogue)
    found = get_meta(db, key)
    db.conn.close()
    return found


def changed_again(workspace, folder, name):
    return sum(report.changed for report in import_named(workspace, folder, name))


def test_half_train_three_tenths_are_for_rankers_a_fifth_is_measured():
    found = [split_of(f"query {i}") for i in range(10_000)]
    shares = [found.count(split) / 10_000 for split in ("train", "valid", "test")]
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.015)


@pytest.fixture
def enough(monkeypatch):
    """Two queries are many."""
    monkeypatch.setattr("omnisearch.data.importers.datasets.labels.FEW", 2)


def test_few_queries_are_all_for_the_rankers_but_those_of_the_test(workspace, tmp_path):
    judged = [f"{query}\tB1\t1.0\tE\n" for query in NUMBERED[:50]]
    folder = write(
        tmp_path / "esci",
        products__jsonl='{"asin": "B1", "title": "Sink"}\n',
        judgments__tsv="query\tasin\tgain\tesci_label\n" + "".join(judged),
    )
    import_named(workspace, folder, "esci")
    for query, split, _ in table(workspace, "queries", "id, split, text"):
        assert split == ("test" if split_of(query) == "test" else "valid")
    assert table(workspace, "engagements") == []


def test_esci(workspace, tmp_path, enough):
    product = {"asin": "B1", "title": "Sink", "description": "", "bullet_points": "Copper\nRound"}
    product |= {"brand": None, "color": "Brown", "price": 9.5, "category": ["Home", "Sinks"]}
    judged = (("B1", "E"), ("B2", "S"), ("B9", "I"))
    labels = [(query, asin, label) for query in (TRAIN, TEST) for asin, label in judged]
    lines = [f"{q}\t{a}\t1.0\t{label}\n" for q, a, label in [*labels, (TRAIN, "B2", "X")]]
    folder = write(
        tmp_path / "esci",
        products__jsonl="".join(
            json.dumps(p) + "\n" for p in (product, {**product, "asin": "B2"}, {"asin": "B3"})
        ),
        judgments__tsv="query\tasin\tgain\tesci_label\n" + "".join(lines),
    )
    products, queries, judgments, engagements = import_named(workspace, folder, "esci")
    assert refusals(products) == [(3, "title", "is missing")]
    columns = "id, description, price, currency, colours, product_types"
    assert table(workspace, "products", columns)[0] == (
        *("esci:B1", "Copper\nRound", 9.5, "USD", '["Brown"]', '["Home","Sinks"]'),
    )
    assert sorted(table(workspace, "queries", "text, split, country")) == sorted(
        [(TRAIN, "train", "US"), (TEST, "test", "US")]
    )
    assert queries.taken == 2
    missing = "names a product that does not exist"
    unknown = (8, "esci_label", "is not one of E, S, C, I")
    assert refusals(judgments) == [(4, "item_id", missing), (7, "item_id", missing), unknown]
    grades = table(workspace, "judgments", "query, item_id, grade, judge")
    assert sorted(grades) == sorted(
        (query, item, grade, "esci")
        for query in (TRAIN, TEST)
        for item, grade in (("esci:B1", 1.0), ("esci:B2", 0.1))
    )
    assert table(workspace, "engagements", "query, item_id, action") == [
        (TRAIN, "esci:B1", "add_to_cart"),
        (TRAIN, "esci:B1", "save"),
        (TRAIN, "esci:B2", "click"),
    ]
    assert refusals(engagements) == [unknown]
    assert note(workspace, "derived_from_labels") == ["esci"]
    assert changed_again(workspace, folder, "esci") == 0


def test_home_depot(workspace, tmp_path, enough):
    rows = [
        (TRAIN, 1, "3"),
        (TRAIN, 2, "2.67"),
        (TRAIN, 3, "2.33"),
        (TRAIN, 4, "1"),
        (TEST, 1, "3"),
    ]
    lines = [f"{text},{uid},{relevance}\n" for text, uid, relevance in [*rows, (TRAIN, 5, "9")]]
    folder = write(
        tmp_path / "hd",
        products__csv="product_uid,product_title\n"
        + "".join(f'{i},"T, {i}"\n' for i in range(1, 6)),
        judgments__csv="search_term,product_uid,relevance\n" + "".join(lines),
    )
    _, _, judgments, _ = import_named(workspace, folder, "home_depot")
    assert refusals(judgments) == [(7, "relevance", "is out of range")]
    assert table(workspace, "products", "id, title, language")[0] == ("hd:1", "T, 1", "en")
    assert {
        (item, grade) for item, grade, _ in table(workspace, "judgments", "item_id, grade, time")
    } == {
        ("hd:1", 2.0),
        ("hd:2", 1.67),
        ("hd:3", 1.33),
        ("hd:4", 0.0),
    }
    assert table(workspace, "engagements", "item_id, action, query") == [
        ("hd:1", "add_to_cart", TRAIN),
        ("hd:1", "save", TRAIN),
        ("hd:2", "save", TRAIN),
        ("hd:3", "click", TRAIN),
    ]
    assert derived_actions(2.32) == ()
    assert changed_again(workspace, folder, "home_depot") == 0


def test_tate(workspace, tmp_path):
    work = {"id": 7, "title": "Sea", "artist": "A. Painter", "medium": None, "date": "1900"}
    work |= {"thumb": "http://x/7.jpg", "movements": ["Realism"], "group": "The Seas"}
    folder = write(
        tmp_path / "tate",
        artworks__jsonl=json.dumps({**work, "subj": [1, 2]})
        + "\n"
        + json.dumps({**work, "id": 8, "medium": float("nan"), "group": None, "subj": [1]})
        + "\n"
        + json.dumps({**work, "id": 9, "subj": [99]})
        + "\n",
        subjects__json={"1": {"name": TRAIN, "path": []}, "2": {"name": TEST, "path": ["a"]}},
    )
    reports = import_named(workspace, folder, "tate")
    assert [report.kind for report in reports] == [
        *("pins", "boards", "board_items", "queries", "judgments", "engagements"),
    ]
    assert refusals(reports[4]) == [(3, "99", "is missing")]
    assert table(workspace, "pins", "id, title, description")[:2] == [
        ("tate:7", "Sea", "1900"),
        ("tate:8", "Sea", "1900"),
    ]
    assert table(workspace, "boards", "title, id, language") == [
        ("A. Painter", "tate:artist:A. Painter", "en"),
        ("Realism", "tate:movement:Realism", "en"),
        ("The Seas", "tate:group:The Seas", "en"),
    ]
    assert len(table(workspace, "board_items")) == 3 + 2 + 3
    assert len(table(workspace, "judgments")) == 3
    assert table(workspace, "engagements", "item_id, query, action") == [
        ("tate:7", TRAIN, "save"),
        ("tate:8", TRAIN, "save"),
    ]
    assert changed_again(workspace, folder, "tate") == 0


def captions_of(*images):
    number = iter(range(1000))
    return {
        "images": [{"id": i, "coco_url": f"http://x/{i}.jpg"} for i, _ in images],
        # In the file's order the last caption stands first: the annotation ids decide.
        "annotations": [
            {"image_id": i, "id": 10 * i + place, "caption": caption}
            for i, captions in images
            for place, caption in reversed(list(enumerate(captions)))
            if next(number) >= 0
        ],
    }


def test_coco_keeps_one_caption_wholly_aside(workspace, tmp_path):
    folder = write(
        tmp_path / "coco",
        captions_val2017__json=captions_of(
            (1, ["held out", "title", "machine", "engaged", "asked\nelsewhere"]),
            (2, ["asked elsewhere", "t2", "m2", "e2", "Held Out"]),
            (3, ["too", "few"]),
        ),
    )
    import_named(workspace, folder, "coco")
    assert table(workspace, "pins", "id, title, caption") == [
        ("coco:1", "title", "machine"),
        ("coco:2", "t2", "m2"),
    ]
    assert table(workspace, "queries", "id, split, language") == [
        ("asked elsewhere", "test", "en"),
        ("e2", "train", "en"),
        ("engaged", "train", "en"),
        ("held out", "test", "en"),
    ]
    assert table(workspace, "judgments", "query, item_id, grade") == [
        ("asked elsewhere", "coco:2", 1.0),
        ("held out", "coco:1", 1.0),
    ]
    # What is held out for one image is no engagement of another.
    assert table(workspace, "engagements", "query, item_id, action") == [
        ("e2", "coco:2", "save"),
        ("engaged", "coco:1", "save"),
    ]
    assert changed_again(workspace, folder, "coco") == 0


def test_a_query_that_one_data_set_holds_out_stays_held_out(workspace, tmp_path):
    coco = write(tmp_path / "c", captions_val2017__json=captions_of((1, [TRAIN, "t", "m", "e"])))
    hd = write(
        tmp_path / "hd",
        products__csv="product_uid,product_title\n1,T\n",
        judgments__csv=f"search_term,product_uid,relevance\n{TRAIN},1,3\n",
    )
    import_named(workspace, coco, "coco")
    import_named(workspace, hd, "home_depot")
    assert (TRAIN, "test", "en") in table(workspace, "queries", "id, split, language")
    assert [q for q, *_ in table(workspace, "engagements", "query, item_id, action")] == ["e"]
    assert note(workspace, "derived_from_labels") == ["coco", "home_depot"]


def test_beir_there_and_back(workspace, tmp_path):
    (tmp_path / "in" / "qrels").mkdir(parents=True)
    documents = [{"_id": "d1", "title": "One", "text": "first", "metadata": {"language": [1]}}]
    documents += [{"_id": "d2", "title": "", "text": "second"}, {"title": "no id"}]
    queries = [{"_id": "1", "text": "Copper Sink"}, {"_id": "2", "text": "rug"}]
    write(
        tmp_path / "in",
        corpus__jsonl="".join(json.dumps(d) + "\n" for d in documents),
        queries__jsonl="".join(json.dumps(q) + "\n" for q in queries),
    )
    header = "query-id\tcorpus-id\tscore\n"
    (tmp_path / "in/qrels/train.tsv").write_text(header + "1\td1\t2\n1\td2\t0\n9\td1\t1\n")
    (tmp_path / "in/qrels/test.tsv").write_text(header + "2\td2\t1\n2\td9\t1\n")
    reports = import_beir(workspace, tmp_path / "in")
    assert [refusals(report) for report in reports] == [
        [(3, "_id", "is missing")],
        [],
        [(3, "item_id", "names a pin that does not exist")],
        [(4, "query-id", "names a query that does not exist")],
        [(4, "query-id", "names a query that does not exist")],
    ]
    assert table(workspace, "engagements", "query, item_id, action") == [
        ("copper sink", "d1", "save")
    ]
    assert sum(report.changed for report in import_beir(workspace, tmp_path / "in")) == 0
    db = open_catalogue(workspace.catalogue)
    with db.conn:  # a product that shares its id with a pin, and two judges of one pair
        db.conn.execute(
            "INSERT INTO products (id, title, price, colours) VALUES ('d1','P',2,'[\"r\"]')"
        )
        rows = [("rug", "product", "d1", "a", 1), ("rug", "product", "d1", "b", 2)]
        db.conn.executemany("INSERT INTO judgments VALUES (?, ?, ?, ?, ?, NULL)", rows)
    db.conn.close()
    assert export_beir(workspace, tmp_path / "out") == {
        "documents": 3,
        "queries": 2,
        "judgments": 4,
    }
    assert (
        tmp_path / "out/qrels/test.tsv"
    ).read_text() == header + "q2\td2\t1\nq2\tproduct:d1\t1.5\n"
    again = Workspace.create(tmp_path / "again")
    assert all(report.refused == 0 for report in import_beir(again, tmp_path / "out"))
    for name in ("pins", "products", "queries", "engagements"):
        assert table(again, name) == table(workspace, name)
    grades = table(again, "judgments", "query, entity, item_id, grade")
    assert grades == [
        ("copper sink", "pin", "d1", 2.0),
        ("copper sink", "pin", "d2", 0.0),
        ("rug", "pin", "d2", 1.0),
        ("rug", "product", "d1", 1.5),
    ]
    with pytest.raises(InputError, match="already exists"):
        export_beir(workspace, tmp_path / "out")


@pytest.mark.parametrize("name", ["esci", "home_depot", "tate", "coco", "beir", "other"])
def test_a_folder_that_is_not_the_publishers(workspace, tmp_path, name):
    with pytest.raises(InputError):
        import_named(workspace, tmp_path, name)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"images": [1], "annotations": [1]}'])
def test_json_documents_that_are_damaged(workspace, tmp_path, content):
    coco = write(tmp_path / "coco", captions_val2017__json=content)
    with pytest.raises(InputError, match="cannot be read"):
        import_named(workspace, coco, "coco")
    tate = write(tmp_path / "tate", artworks__jsonl='{"id": 1}\n', subjects__json=content)
    with pytest.raises(InputError, match="cannot be read"):
        import_named(workspace, tate, "tate")


def test_the_published_files(workspace, shared_data):
    folders = {"esci": "esci_us", "coco": "coco_captions"}
    for name, folder in folders.items():
        reports = import_named(workspace, shared_data / folder, name)
        assert sum(report.refused for report in reports) == 0
    assert len(table(workspace, "products", "id, title, price")) == 6764
    assert len(table(workspace, "pins", "id, title, caption")) == 5000
    judged = table(workspace, "judgments", "query, entity, item_id")
    assert sum(entity == "product" for _, entity, _ in judged) == 6678
    # Of each image its first caption, and three tenths of the 10,014 from the fourth on.
    assert 0.29 < (sum(entity == "pin" for _, entity, _ in judged) - 5000) / 10_014 < 0.31


@pytest.mark.slow
def test_the_large_published_files(workspace, shared_data):
    reports = import_named(workspace, shared_data / "tate", "tate")
    assert sum(report.refused for report in reports) == 0
    reports = import_named(workspace, shared_data / "home_depot", "home_depot")
    # Five pairs are judged twice, differently.
    assert sum(report.refused for report in reports) == 5
    held = "SELECT id FROM queries WHERE split <> 'train'"
    leaks = table(workspace, f"engagements WHERE query IN ({held})")
    assert leaks == []
