"""Texts with several labels: every way to write them, and every mistake."""

import json

import pytest

from dokkai.data.label_sets import LabelledText, read_label_sets
from dokkai.errors import UserError
from dokkai.settings import MultiLabelSettings


def read(tmp_path, content, name="rows.csv", **settings):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    return read_label_sets(path, MultiLabelSettings(**settings))


def test_a_text_with_separators(tmp_path):
    found = read(tmp_path, 'text,labels\none,"b, a,b"\ntwo,\nthree,a\n')
    assert found == [
        LabelledText("one", None, ("b", "a"), "0", "line 2"),
        LabelledText("two", None, (), "1", "line 3"),
        LabelledText("three", None, ("a",), "2", "line 4"),
    ]
    (row,) = read(
        tmp_path,
        "key\tx\ty\tl\n7\tone\ttwo\tnew york|x\n",
        "rows.tsv",
        text="x",
        pair="y",
        label="l",
        id="key",
        label_separator="|",
    )
    assert row == LabelledText("one", "two", ("new york", "x"), "7", "line 2")


def test_a_list(tmp_path):
    lines = [{"text": "one", "labels": ["x, y", 3]}, {"text": "two", "labels": []}]
    found = read(tmp_path, "\n".join(map(json.dumps, lines)), "rows.jsonl")
    assert [row.labels for row in found] == [("x, y", "3"), ()]


def test_lists_in_cells(tmp_path):
    """As JSON, and as pandas writes lists to CSV: their marks are no part of the labels."""
    found = read(tmp_path, 'text,labels\none,"[""x, y"", ""z""]"\ntwo,"[\'x\', \'z\']"\nthree,[]\nfour,"x, z"\n')
    assert [row.labels for row in found] == [("x, y", "z"), ("x", "z"), (), ("x", "z")]


def test_a_column_for_each(tmp_path):
    table = "text,good,bad,new\none,1,0,1\ntwo,0,0,0\n"
    found = read(tmp_path, table, label_columns=["new", "good"])
    assert [row.labels for row in found] == [("new", "good"), ()]
    found = read(tmp_path, "one\t1\t0\n", "rows.tsv", text=0, label_columns=[1, 2], labels=["x", "y"], header=False)
    assert found[0].labels == ("x",)
    found = read(tmp_path, '{"text": "one", "x": true, "y": 0}', "rows.jsonl", label_columns=["x", "y"])
    assert found[0].labels == ("x",)


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match=r"rows\.csv line 3: column 'good' is '2'; 1 says that the label fits"):
        read(tmp_path, "text,good\none,1\ntwo,2\n", label_columns=["good"])
    with pytest.raises(UserError, match=r"rows\.jsonl line 1: column 'labels' is no list of labels; write one such as"):
        read(tmp_path, '{"text": "one", "labels": [["x"]]}', "rows.jsonl")
    with pytest.raises(UserError, match=r"rows\.jsonl line 1: no column 'labels'; there is: text, label"):
        read(tmp_path, '{"text": "one", "label": "x"}', "rows.jsonl")
    with pytest.raises(UserError, match=r"rows\.csv line 1: no column 'bad'"):
        read(tmp_path, "text,good\none,1\n", label_columns=["bad"])
    with pytest.raises(UserError, match="column 'id': the id '1' occurs 2 times"):
        read(tmp_path, "text,labels,id\none,x,1\ntwo,y,1\n", id="id")
    with pytest.raises(ValueError, match=r"task\.labels must name each of task\.label_columns"):
        MultiLabelSettings(label_columns=["a", "b"], labels=["x"])
