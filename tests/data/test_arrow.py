"""Parquet files and data sets, through every reader; no network."""

import json
import re
from datetime import date
from pathlib import Path

import datasets
import pyarrow
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from datasets.packaged_modules.csv.csv import Csv
from pyarrow import parquet

from dokkai.data.arrow import is_data_set
from dokkai.data.columns import Sentence, read_sentences
from dokkai.data.rows import Row, read_rows
from dokkai.data.squad import Answer, Question, read_squad
from dokkai.data.tables import read_table
from dokkai.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    """A data set of two splits in a folder, as people share them."""
    at = tmp_path / "reviews"
    at.mkdir()
    (at / "train.csv").write_text("text,label\ngood,1\nbad,0\n", encoding="utf-8")
    (at / "test.csv").write_text("text,label\nfine,1\n", encoding="utf-8")
    return at


def write(path, columns, features=None):
    Dataset.from_dict(columns, features=features).to_parquet(path)
    return path


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    day = date(2018, 10, 11)
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [1.5, 2.0], "day": [day, None]}), path)
    table = read_table(path, {})
    assert table.where(table.records[1]) == f"{path} row 2"
    assert table.records[0].values == {"text": "a", "label": 1.5, "day": day}
    assert read_rows(path) == [Row("a", None, "1.5", "0", "row 1"), Row("b", None, "2.0", "1", "row 2")]
    with pytest.raises(UserError, match=r"a\.parquet row 2: column 'day' is null; a text or a number is needed"):
        read_rows(path, label="day")
    parquet.write_table(pyarrow.table({"text": ["a"], "label": [day]}), path)
    assert read_rows(path)[0].label == "2018-10-11"
    parquet.write_table(pyarrow.table({"text": [b"a"], "label": [1]}), path)
    with pytest.raises(UserError, match=r"a\.parquet row 1: column 'text' is binary; a text or a number is needed"):
        read_rows(path)
    marks = pyarrow.array([[("a", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int32()))
    parquet.write_table(pyarrow.table({"text": ["a"], "label": [1], "marks": marks}), path)
    with pytest.raises(UserError, match=r"a column is of a kind that is not read \(.+map.+\); leave it out"):
        read_rows(path)


def test_names_of_labels(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    path = write(tmp_path / "a.parquet", {"text": ["a", "b", "c"], "label": [1, 0, -1]}, features)
    assert [record.values["label"] for record in read_table(path, {}).records] == ["yes", "no", None]


def test_sentences(tmp_path):
    tags = ClassLabel(names=["O", "B-ORG"])
    features = Features({"tokens": List(Value("string")), "ner_tags": List(tags)})
    path = write(tmp_path / "a.parquet", {"tokens": [["EU", "rejects"], ["."]], "ner_tags": [[1, 0], [0]]}, features)
    assert read_sentences(path) == [
        Sentence(("EU", "rejects"), ("B-ORG", "O"), "0", "row 1"),
        Sentence((".",), ("O",), "1", "row 2"),
    ]


def test_questions(tmp_path):
    record = {"id": "q", "title": "T", "context": "a b", "question": "c?"}
    answers = {"text": ["b"], "answer_start": [2]}
    columns = {name: [value] for name, value in (record | {"answers": answers}).items()}
    expected = [Question("q", "c?", "a b", (Answer("b", 2),), "T")]
    assert read_squad(write(tmp_path / "a.parquet", columns)) == expected
    for name, content in [
        ("a.jsonl", json.dumps(record | {"answers": answers})),
        ("a.json", json.dumps([record | {"answers": [{"text": "b", "answer_start": 2}]}])),
    ]:
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert read_squad(tmp_path / name) == expected


def test_questions_as_records_without_id_or_answers(tmp_path):
    path = tmp_path / "a.jsonl"
    records = [{"context": "a", "question": "b?"}, {"context": "a", "question": "c?", "answers": []}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    first, second = read_squad(path)
    assert (first.id, first.is_labelled, second.id, second.is_impossible) == ("0", False, "1", True)
    assert first.context is second.context
    path.write_text('{"context": "a", "question": "b?"}\n{"context": "a"}', encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.jsonl: not in SQuAD's layout: 'question' is missing in line 2"):
        read_squad(path)
    path.with_suffix(".json").write_text("[5]", encoding="utf-8")
    with pytest.raises(UserError, match="not in SQuAD's layout: entry 1 is not an object with 'context'"):
        read_squad(path.with_suffix(".json"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("imdb", True),
        ("glue:mrpc", True),
        ("owner/name.v1", False),
        ("owner/name.v1@main", True),
        ("owner/name.v1[test]", True),
        ("glue:mrpc@1a2b[train[:10%]]", True),
        ("train.csv", False),
        ("./imdb", False),
        ("/data/imdb", False),
        ("-", False),
        ("a b", False),
    ],
)
def test_what_names_a_data_set(name, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_data_set(name) == expected


def test_what_lies_here_comes_first(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert is_data_set("reviews") and is_data_set(folder) and is_data_set(f"{folder}[train]")
    assert not is_data_set(folder / "train.csv")
    (folder.parent / "imdb").touch()
    assert not is_data_set("imdb")


def test_a_folder(folder):
    table = read_table(f"{folder}[train]", {})
    assert [record.values for record in table.records] == [{"text": "good", "label": 1}, {"text": "bad", "label": 0}]
    assert read_rows(f"{folder}[test]") == [Row("fine", None, "1", "0", "row 1")]
    assert len(read_rows(f"{folder}[train[:1]]")) == 1
    (folder / "train.csv").unlink()
    assert len(read_rows(folder)) == 1


def test_what_save_to_disk_wrote(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    one = Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    one.save_to_disk(tmp_path / "one")
    DatasetDict({"train": one, "test": one.select([1])}).save_to_disk(tmp_path / "both")
    expected = [Row("a", None, "yes", "0", "row 1"), Row("b", None, "no", "1", "row 2")]
    assert read_rows(tmp_path / "one") == expected == read_rows(f"{tmp_path / 'both'}[train]")
    assert read_rows(f"{tmp_path / 'both'}[test]") == [Row("b", None, "no", "0", "row 1")]
    for name, message in [
        ("both", "both: the data set has the splits train, test; choose one, as in"),
        ("both[dev]", "both[dev]: 'dev' is not in this data set; it has the splits train, test"),
        ("one[train]", "one[train]: 'train' is not in this data set; it has no splits; write '"),
        ("one:mrpc", "one:mrpc: a data set on the disk has neither configuration nor revision; write '"),
    ]:
        with pytest.raises(UserError, match=re.escape(message)):
            read_rows(f"{tmp_path / name}")
    for file in (tmp_path / "one").glob("*.arrow"):
        file.write_bytes(b"x")
    with pytest.raises(UserError, match=r"one: damaged, or not whole \(.+\); save the data set again"):
        read_rows(tmp_path / "one")


def test_mistakes_in_a_folder(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, message in [
        (folder, "reviews: the data set has the splits train, test; choose one, as in"),
        (f"{folder}[dev]", 'reviews[dev]: the data set cannot be read: Unknown split "dev". Should be one of'),
        (
            f"{folder}:small[train]",
            "reviews:small[train]: the data set cannot be read: BuilderConfig 'small' not found",
        ),
        (tmp_path / "empty", f"empty: the data set cannot be read: The directory at {tmp_path}/empty doesn't contain"),
        (tmp_path / "empty", "any data files (give the name of a file)"),
    ]:
        with pytest.raises(UserError, match=re.escape(message)) as raised:
            read_rows(name)
        assert "\n" not in str(raised.value)


def test_the_parts_of_a_name_reach_the_library(monkeypatch):
    asked = []

    def load_dataset(name, config, split, revision):
        asked.append((name, config, revision, split))
        return Dataset.from_dict({"text": ["a"], "label": ["b"]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for name in ("imdb", "glue:mrpc[train]", "owner/name.v1@main", "glue:mrpc@1a2b[train[:10%]]"):
        assert read_rows(name) == [Row("a", None, "b", "0", "row 1")]
    assert asked == [
        ("imdb", None, None, None),
        ("glue", "mrpc", None, "train"),
        ("owner/name.v1", None, "main", None),
        ("glue", "mrpc", "1a2b", "train[:10%]"),
    ]


def test_a_name_of_the_hub_that_the_library_has_fetched_before(folder):
    """By the library itself: what it keeps of a data set under its name."""
    files = {split: [str(folder / f"{split}.csv")] for split in ("train", "test")}
    builder = Csv(dataset_name="reviews", config_name="default", data_files=files, hash="0123456789abcdef")
    builder.download_and_prepare()
    kept = datasets.config.HF_DATASETS_CACHE / "ann___reviews" / "default" / "0.0.0" / builder.hash
    kept.parent.mkdir(parents=True)
    Path(builder.cache_dir).rename(kept)
    assert [row.text for row in read_rows("ann/reviews[train]")] == ["good", "bad"]
    assert read_rows("ann/reviews:default[test]") == [Row("fine", None, "1", "0", "row 1")]
    with pytest.raises(UserError, match="ann/reviews: the data set has the splits train, test; choose one, as in"):
        read_rows("ann/reviews")


def test_without_a_network():
    for read in (read_rows, read_sentences, read_squad):
        with pytest.raises(UserError, match="owner/name: no such file, and the Hugging Face hub cannot be reached for"):
            read("owner/name")


def test_what_the_hub_does_not_have(monkeypatch):
    def load_dataset(*_, **__):
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'imbd' doesn't exist on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(UserError, match="imbd: no such file, and the Hugging Face hub has no such data set, or only"):
        read_rows("imbd")


def test_a_file_that_is_no_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(UserError, match=r"a\.parquet: no such file"):
        read_rows(path)
    path.write_text("text,label\n")
    with pytest.raises(UserError, match=r"a\.parquet: not a Parquet file, or a damaged one"):
        read_rows(path)
    parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), path)
    with pytest.raises(UserError, match=r"a\.parquet: no rows in it"):
        read_rows(path)


def test_a_missing_file_without_an_ending(tmp_path):
    with pytest.raises(UserError, match="/nothing: no such file"):
        read_rows(tmp_path / "nothing")
