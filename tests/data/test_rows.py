"""Reading tables: every format and layout, and every mistake in its own words."""

import csv
import gzip
import io
import json
import lzma
import re
from types import SimpleNamespace

import pytest

from dokkai.data.rows import Row, read_rows
from dokkai.data.tables import listed, read_table
from dokkai.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def test_csv_with_quotes_and_lines_within_a_field(write):
    path = write("a.csv", '\ufefflabel,text\r\nyes,"one, ""two""\nthree"\r\n\r\nno,四\r\n')
    assert read_rows(path) == [
        Row('one, "two"\nthree', None, "yes", "0", "line 2"),
        Row("四", None, "no", "1", "line 5"),
    ]


def test_tsv_knows_no_quotes(write):
    path = write("a.tsv", 'index\ts1\ts2\tlabel\n7\t"open\tsecond\u2028part\t1\n9\tx\ty\t0\n')
    assert read_rows(path, text="s1", pair="s2", id="index") == [
        Row('"open', "second\u2028part", "1", "7", "line 2"),
        Row("x", "y", "0", "9", "line 3"),
    ]


def test_columns_by_number_without_header(write):
    path = write("cola.tsv", "gj04\t1\t\tA sentence.\ncj99\t0\t*\tSentence a.\n")
    assert read_rows(path, text="3", label="1") == [
        Row("A sentence.", None, "1", "0", "line 1"),
        Row("Sentence a.", None, "0", "1", "line 2"),
    ]


def test_numbers_may_be_names_of_a_header(write):
    path = write("a.csv", "1,0\nfirst,second\n")
    assert read_rows(path, text="0", label=None, header=True) == [Row("second", None, None, "0", "line 2")]


def test_unlabelled(write):
    path = write("a.tsv", "text\nalone\n")
    assert read_rows(path, label=None) == [Row("alone", None, None, "0", "line 2")]


def test_rows_of_different_length(write):
    path = write("sts.csv", "x\t1.5\ta\tb\nx\t2\tc\td\tsource\tsource\n")
    rows = read_rows(path, text="2", pair="3", label="1", format="tsv", ragged=True)
    assert [(row.text, row.pair, row.label) for row in rows] == [("a", "b", "1.5"), ("c", "d", "2")]
    with pytest.raises(UserError, match="line 2: 6 fields where the first line has 4"):
        read_rows(path, text="2", pair="3", label="1", format="tsv")
    with pytest.raises(UserError, match="line 2: 1 field where the header has 2"):
        read_rows(write("b.tsv", "label\ttext\nshort\n"), ragged=True)


def test_short_rows_are_left_out_and_counted(write, capsys):
    path = write("qqp.tsv", "id\ttext\tlabel\n0\ta\t1\n1\ta question\nwith a line break\t0\n2\tb\t0\tmore\n")
    assert [row.text for row in read_rows(path, ragged=True, skip_short=True)] == ["a", "b"]
    assert "qqp.tsv: 2 rows without the needed fields left out" in capsys.readouterr().err
    with pytest.raises(UserError, match="line 3: 2 fields where the header has 3"):
        read_rows(path, ragged=True)
    with pytest.raises(UserError, match="line 5: 4 fields where the header has 3"):
        read_rows(path, skip_short=True)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_json_lines(write, name):
    path = write(
        name, '{"text": "a\\nb", "label": 2}\n\n{"label": 0.0, "text": "c", "more": []}\n{"text": 7, "label": true}\n'
    )
    assert read_rows(path) == [
        Row("a\nb", None, "2", "0", "line 1"),
        Row("c", None, "0.0", "1", "line 3"),
        Row("7", None, "true", "2", "line 4"),
    ]


def test_semicolons(write):
    path = write("a.csv", 'text;label\n"one; two";yes\nthree, four;no\n')
    assert read_rows(path) == [
        Row("one; two", None, "yes", "0", "line 2"),
        Row("three, four", None, "no", "1", "line 3"),
    ]
    assert read_rows(write("b.csv", "one; two\nthree\n"), text="0", label=None)[0].text == "one; two"


def test_a_comma_in_quotes_parts_nothing(write):
    (row,) = read_rows(write("a.csv", '"text, long";"label"\n"a, b";"c"\n'), text="text, long")
    assert (row.text, row.label) == ("a, b", "c")


def test_spaces_round_names_and_labels(write):
    rows = read_rows(write("a.csv", "text, label\n a , pos\nb,pos \n"))
    assert [(row.text, row.label) for row in rows] == [(" a ", "pos"), ("b", "pos")]


def test_columns_without_a_name_are_not_read(write):
    table = read_table(write("a.csv", "text,,\na,b,c\n"), {})
    assert [record.values for record in table.records] == [{"text": "a"}]


def test_json_list(write):
    path = write("a.json", ' [{"text": "a",\n"label": "x", "q": 10}, {"text": "b", "label": "y", "q": 11}]')
    assert read_rows(path, id="q") == [Row("a", None, "x", "10", "entry 1"), Row("b", None, "y", "11", "entry 2")]


@pytest.mark.parametrize("number", [1, 2])
def test_json_list_called_data(write, number):
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}][:number]
    found = read_rows(write("a.json", json.dumps({"schema": {"fields": []}, "data": rows}, indent=1)))
    assert found == [Row("a", None, "x", "0", "entry 1"), Row("b", None, "y", "1", "entry 2")][:number]


def test_json_by_columns_as_pandas_writes_it(write):
    columns = {"text": {"0": "a", "5": "b", "7": "c"}, "label": {"0": "x", "5": "y"}}
    table = read_table(write("a.json", json.dumps(columns)), {})
    assert [record.values for record in table.records] == [
        {"text": "a", "label": "x"},
        {"text": "b", "label": "y"},
        {"text": "c"},
    ]
    (row,) = read_table(write("b.json", '{"text": {"de": "a"}}'), {}).records  # names are no numbers of rows
    assert row.values == {"text": {"de": "a"}}


def test_one_json_object_on_several_lines(write):
    assert read_rows(write("a.json", '{\n "text": "a",\n "label": "x"\n}\n')) == [Row("a", None, "x", "0", "line 1")]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('["it\'s", "\\ud83d\\ude00", 3]', ["it's", "\U0001f600", 3]),
        ("[]", []),
        ("""['a, b', "it's", 'it\\'s \\\\ "c"']""", ["a, b", "it's", 'it\'s \\ "c"']),
        ("""['a' "it's"\n 'b']""", ["a", "it's", "b"]),  # numpy
    ],
)
def test_lists_that_texts_write(cell, expected):
    assert listed(cell) == expected


@pytest.mark.parametrize("value", ["[a]", "['a'", "['a'] ['b']", "['a'b']", "['\\x']", "a", "", None, 3, ["a"]])
def test_what_is_no_written_list_stays(value):
    assert listed(value) == value


def test_compressed(write):
    content = b"text,label\na,b\n"
    rows = [Row("a", None, "b", "0", "line 2")]
    assert read_rows(write("a.csv.gz", gzip.compress(content))) == rows
    assert read_rows(write("a.CSV.xz", lzma.compress(content))) == rows


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"text": "a", "label": "b"}\n')))
    assert read_rows("-", format="jsonl") == [Row("a", None, "b", "0", "line 1")]


def test_long_fields_and_the_limit_is_put_back(write):
    before = csv.field_size_limit()
    (row,) = read_rows(write("a.csv", f"text,label\n{'x' * 200_000},y\n"))
    assert len(row.text) == 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("a.csv", "txt,label\na,b\n", {}, "a.csv line 1: no column 'text'; there is: txt, label; did you mean 'txt'?"),
        ("a.csv", "first,label\na,b\n", {}, "a.csv line 1: no column 'text'; there is: first, label"),
        ("a.tsv", "text\na\n", {}, "a.tsv line 1: no column 'label'; there is: text"),
        ("a.tsv", "a\tb\n", {"text": "2", "label": "0"}, "no column '2'; there is: 0, 1; columns are numbered from 0"),
        ("a.tsv", f"{'a' * 31}\tb\n", {}, f"there is: {'a' * 30}..., b"),
        ("a.csv", ",".join("abcdefghijklmnopqrstu"), {}, "r, s, t, ..."),
        (
            "a.jsonl",
            '{"text": "a", "labl": 1}',
            {},
            "a.jsonl line 1: no column 'label'; there is: text, labl; did you mean",
        ),
        ("a.csv", "text,text,label\na,b,c\n", {}, "a.csv line 1: 2 columns are called 'text'; rename all but one"),
        (
            "a.csv",
            'text,label\n"a\nb",c\nd\n',
            {},
            "a.csv line 4: 1 field where the header has 2; look for a separator",
        ),
        ("a.csv", "text,label\na,b,c\n", {}, "a.csv line 2: 3 fields where the header has 2"),
        (
            "a.csv",
            'text,label\na,b\n"c,d\n',
            {},
            "a.csv line 3: not CSV (unexpected end of data); is a quote left open?",
        ),
        ("a.csv", "text,label\n", {}, "a.csv: no rows in it"),
        ("a.json", "[]", {}, "a.json: no rows in it"),
        ("a.json", '{"data": []}', {}, "a.json: no rows in it"),
        ("a.csv", b"text,label\n\xff,b\n", {}, "not UTF-8 at byte 11"),
        ("a.csv", "text,label\na, \n", {}, "a.csv line 2: the label (column 'label') is empty; fill it in or leave"),
        ("a.csv", b"text,label\ra,b\r", {}, "a.csv line 1: line ends of old Macs (CR) are not read; save it"),
        ("a.xlsx", b"PK", {}, "a.xlsx: a spreadsheet is not read; save its table as CSV"),
        ("a.jsonl", '{"text": "a", "label": NaN}', {}, "a.jsonl line 1: column 'label' is NaN; a text or a number"),
        ("a.jsonl", f'{{"text": {"1" * 5000}, "label": 1}}', {}, "a.jsonl line 1: not JSON (a number too long, or"),
        ("a.jsonl", "[" * 100_000, {}, "a.jsonl line 1: not JSON (a number too long, or nested too deep)"),
        ("a.jsonl", '{"text": "a", "label": null}', {}, "a.jsonl line 1: column 'label' is null; a text or a number"),
        ("a.jsonl", '{"text": ["a"], "label": 1}', {}, "column 'text' is a list"),
        ("a.jsonl", '{"text": {}, "label": 1}', {}, "column 'text' is an object"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text"\n', {}, "a.jsonl line 2: not JSON (Expecting ':' delimiter)"),
        ("a.json", '[\n{"text": }]', {}, "a.json: not JSON at line 2 (Expecting value); a JSON list or JSON lines"),
        ("a.json", '[{"text": "a", "label": 1}, 5]', {}, "a.json entry 2: not a JSON object with named values"),
        (
            "a.csv",
            "text,label\na,b\n",
            {"text": "0"},
            "by number and by name (text=0, label=label); give all by number",
        ),
        ("a.csv", "a,b\n", {"header": False}, "without a header line columns are numbers from 0, but text is 'text'"),
        (
            "a.csv",
            "text,label,id\na,b,1\na,b,2\na,b,2\n",
            {"id": "id"},
            "a.csv: column 'id': the id '2' occurs 2 times, first in line 3; ids must differ",
        ),
        (
            "a.txt",
            "text\n",
            {},
            "a.txt: the ending of the name does not tell the format; give format: csv, tsv, jsonl, json",
        ),
    ],
)
def test_mistakes(write, name, content, settings, message):
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        read_rows(write(name, content), **settings)
    assert "\n" not in str(raised.value)


def test_unknown_format(write):
    with pytest.raises(ValueError, match="format is 'xlsx', not one of csv, tsv, jsonl, json"):
        read_rows(write("a.csv", "text,label\n"), format="xlsx")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "num_rows", "settings"),
    [
        ("glue/CoLA-dev.tsv", 1043, {"text": "3", "label": "1"}),
        ("glue/MRPC-dev.tsv", 408, {"text": "#1 String", "pair": "#2 String", "label": "Quality"}),
        ("glue/RTE-dev.tsv", 277, {"text": "sentence1", "pair": "sentence2", "id": "index"}),
        ("glue/SST-2-dev.tsv", 872, {"text": "sentence"}),
        ("glue/STS-B-dev.csv", 1500, {"text": "5", "pair": "6", "label": "4", "format": "tsv", "ragged": True}),
        ("jglue/jsts-valid.json", 1457, {"text": "sentence1", "pair": "sentence2", "id": "sentence_pair_id"}),
        ("jsick/test.tsv", 4927, {"text": "sentence_A_Ja", "pair": "sentence_B_Ja", "label": "entailment_label_Ja"}),
        ("arc/openbookqa.test.jsonl", 500, {"text": "question"}),
    ],
)
def test_development_data(data, name, num_rows, settings):
    path = data / name
    rows = read_rows(path, **settings)
    assert len(rows) == num_rows
    assert all(row.text for row in rows)
    if path.suffix == ".jsonl":
        assert rows[-1].text == json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["question"]
