"""`omnisearch import` says what it left out, and fails if it took nothing."""

from __future__ import annotations

import json
import os

from commandline import omnisearch


def said(text: str) -> str:
    return " ".join(text.split())


def test_what_was_left_out_is_said_in_numbers(tmp_path):
    path = tmp_path / "engagements.csv"
    items = tmp_path / "products.csv"
    items.write_text("ID;Title;Price\n1;Sink;12,50 €\n2;Mop;gratis\n;Lamp;3,00\n")
    done = omnisearch("import", items, "-w", tmp_path / "ws")
    for part in (
        "The columns are separated by a semicolon.",
        "Prices: the decimal sign is a comma.",
        "Rows refused: 1 × id is missing.",
        "Values left out of rows that were taken: 1 × price is not a price such as 19.99 USD.",
        "Each is listed in",
    ):
        assert part in said(done.stdout)
    path.write_text(
        "time,query,item_id,action,browser\n1,sink,1,click,x\n4000000000,sink,1,click,x\n"
    )
    words = ("import", path, "--set", "entity=product", "-w", tmp_path / "ws")
    first, again = said(omnisearch(*words).stdout), said(omnisearch(*words).stdout)
    assert "engagements do not have, and that were not read: browser." in first
    assert "1 × time is more than a day in the future" in first
    assert "Nothing changed" not in first
    assert "Nothing changed: the file is as it was when it was imported on " in again


def test_a_file_of_which_nothing_was_taken_fails(tmp_path):
    bad, good = tmp_path / "products.csv", tmp_path / "pins.csv"
    bad.write_text("id,title\n,Sink\n,Mop\n")
    good.write_text("id,title\np1,Sink\n")
    done = omnisearch("import", good, bad, "-w", tmp_path / "ws", check=False)
    assert done.returncode == 2
    assert "2 × id is missing" in done.stdout
    assert "No row was taken from" in said(done.stderr) and "products.csv" in done.stderr
    assert "pins.csv" not in said(done.stderr).split("No row was taken")[1]
    done = omnisearch("import", bad, "-w", tmp_path / "ws", "--json", check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout)["data"][0]["refused"] == 2
    done = omnisearch("import", good, "-w", tmp_path / "ws", "--map", "title", check=False)
    assert "'title' is not a pair" in said(done.stderr)


def test_a_file_without_rows_is_told_and_makes_no_workspace(tmp_path):
    files = tmp_path / "products.csv", tmp_path / "boards.jsonl", tmp_path / "campaigns.csv"
    files[0].write_text("id,title\n")
    files[1].write_text("[]")
    files[2].write_text("id,bid,items\n")
    for path in files:
        done = omnisearch("import", path, "-w", tmp_path / "ws", check=False)
        assert done.returncode == 2 and not done.stdout
        told = f"There are no rows to import in {path}. Look at what was written there"
        assert "".join(told.split()) in "".join(done.stderr.split())  # a long path is broken
        assert not (tmp_path / "ws").exists()
    (tmp_path / "pins.csv").write_text("id,title\np1,Sink\n")
    done = omnisearch("import", tmp_path / "pins.csv", files[0], "-w", tmp_path / "ws", check=False)
    assert done.returncode == 2 and "pins.csv" in done.stdout and "There are no rows" in done.stderr
    assert omnisearch("import", files[0], "-w", tmp_path / "ws", check=False).returncode == 2
    feed = tmp_path / "hidden.csv"
    columns = "ID,Type,SKU,Name,Published,Visibility in catalog,Regular price"
    feed.write_text(f"{columns}\n4,simple,d,Mop,1,hidden,5\n")
    done = omnisearch("import", feed, "--format", "woocommerce", "-w", tmp_path / "w", check=False)
    assert "1 product that is hidden from search" in said(done.stdout)
    assert "There are no rows to import in" in said(done.stderr) and not (tmp_path / "w").exists()


def test_a_file_that_fails_is_told_after_those_that_were_imported(tmp_path):
    good, bad, folder = tmp_path / "pins.csv", tmp_path / "fake.csv", tmp_path / "in"
    good.write_text("id,title\np1,Sink\n")
    bad.write_text("id,title\n1,Mop\n")
    folder.mkdir()
    (folder / "products.csv").write_text("id,title\n1,Sink\n")
    (folder / "boards.jsonl").write_bytes(b"\xff\xfei\0d\0")
    for words, taken in (((good, bad), "pins.csv"), ((folder,), "products.csv")):
        done = omnisearch("import", *words, "-w", tmp_path / "ws", check=False)
        assert done.returncode == 2
        assert "Imported into" in done.stdout and taken in done.stdout
        assert said(done.stderr).count("Error:") == 1
    done = omnisearch("import", good, bad, "-w", tmp_path / "ws", "--json", check=False)
    told = json.loads(done.stdout)
    assert told["error"]["where"] == str(bad) and told["data"][0]["taken"] == 1
    done = omnisearch("import", bad, "-w", tmp_path / "ws", check=False)
    assert done.returncode == 2 and not done.stdout


def test_a_first_import_that_fails_leaves_no_folder(tmp_path):
    path = tmp_path / "goods.csv"
    path.write_text("id,title\n1,Sink\n")
    for words in ((path,), (path, "--kind", "products", "--map", "title=name"), ("feedback",)):
        done = omnisearch("import", *words, "-w", tmp_path / "ws", check=False)
        assert done.returncode != 0 and not (tmp_path / "ws").exists(), done.stderr
    omnisearch("import", path, "--kind", "products", "-w", tmp_path / "ws")
    assert (tmp_path / "ws/catalogue.db").exists()


def test_options_that_nothing_would_read_are_refused(tmp_path):
    path, folder = tmp_path / "products.csv", tmp_path / "in"
    path.write_text("id,title\n1,Sink\n")
    folder.mkdir()
    for words, why in (
        ((path, "--ids", path), "--ids: This is for vectors."),
        ((path, "--entity", "product"), "rows get their entity by --set entity=product"),
        ((path, "--vectors", "x", "--kind", "products"), "--kind: Vectors are no rows of a kind."),
        (("feedback", "--set", "a=b"), "--set: Feedback is read as the service wrote it."),
        ((folder, "--kind", "pins"), "--kind: A folder's files have their kinds in their names."),
        ((path, "--format", "ga4", "--kind", "pins"), "--kind: The format 'ga4' has kinds of its"),
    ):
        done = omnisearch("import", *words, "-w", tmp_path / "ws", check=False)
        assert done.returncode == 2 and why in said(done.stderr), done.stderr
    done = omnisearch("import", path, "--format", "esci", "-w", tmp_path / "ws", check=False)
    assert "This is not a folder" in said(done.stderr)
    assert not (tmp_path / "ws").exists()


def test_vectors_need_items_and_a_file_of_numbers(tmp_path):
    path = tmp_path / "products.csv"
    path.write_text("id,title\n1,Sink\n")
    words = ("import", path, "--vectors", "x", "-w", tmp_path / "ws")
    done = omnisearch(*words, check=False)
    assert done.returncode == 3 and "There is no catalogue" in said(done.stderr)
    assert not (tmp_path / "ws").exists()
    omnisearch("import", path, "-w", tmp_path / "ws")
    done = omnisearch(*words, check=False)
    assert "not a numeric .npy array" in said(done.stderr) and "pickle" not in done.stderr


def test_a_name_that_is_not_utf8_is_told(tmp_path):
    path = tmp_path / os.fsdecode(b"gr\xf6sse.csv")
    path.write_text("id,title\n1,Sink\n")
    words = ("import", path, "--kind", "products", "-w", tmp_path / "ws")
    done = omnisearch(*words, check=False)
    assert done.returncode == 2 and "The file's name is not UTF-8. Rename it." in said(done.stderr)
    path.unlink()
    told = json.loads(omnisearch(*words, "--json", check=False).stdout)["error"]
    assert told["what"] == "There is no such file or folder." and "gr\ufffdsse" in told["where"]


def test_a_file_is_no_workspace(tmp_path):
    path = tmp_path / "products.csv"
    path.write_text("id,title\n1,Sink\n")
    for words in (("import", path), ("status",), ("watch", tmp_path), ("demo",)):
        done = omnisearch(*words, "-w", path, check=False)
        assert done.returncode == 2
        assert "This is a file, and a workspace is a folder. Name a folder" in said(done.stderr)
    assert path.exists()
