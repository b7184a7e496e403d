"""Reading sentences of tagged words: a word a line, or lists; and every mistake in its own words."""

import io
import json
import lzma
import re
from types import SimpleNamespace

import pytest

from dokkai.data.columns import Sentence, read_sentences
from dokkai.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


CONLL = """-DOCSTART- -X- O O

EU NNP I-NP B-ORG
rejects VBZ I-VP O

-DOCSTART- -X- O O

Peter NNP  I-NP B-PER
-DOCSTART- -X- O O
. . O O
"""


def test_four_columns_and_documents(write):
    assert read_sentences(write("a.iob2", CONLL)) == [
        Sentence(("EU", "rejects"), ("B-ORG", "O"), "0", "line 3", 0, 3),
        Sentence(("Peter",), ("B-PER",), "1", "line 8", 1, 8),
        Sentence((".",), ("O",), "2", "line 10", 2, 10),
    ]


def test_sentences_before_the_first_mark_are_a_document(write):
    found = read_sentences(write("a.conll", "a O\n\nb O\n\n\n-DOCSTART- O\nc O"))
    assert [(sentence.words, sentence.line, sentence.document) for sentence in found] == [
        (("a",), 1, 0),
        (("b",), 3, 0),
        (("c",), 7, 1),
    ]
    found = read_sentences(write("b.conll", "a O\n-DOCSTART- O\nb O\n"))
    assert [sentence.document for sentence in found] == [0, 1]


def test_columns_by_number(write):
    path = write("a.txt", "1 EU NNP B-ORG\n2 rejects VBZ O\n")
    (sentence,) = read_sentences(path, words="1", tags="-2")
    assert (sentence.words, sentence.tags) == (("EU", "rejects"), ("NNP", "VBZ"))
    assert read_sentences(path, words="1", tags="2") == [sentence]


def test_words_without_tags(write):
    assert read_sentences(write("a", "EU\nrejects\n"), has_tags=False) == [
        Sentence(("EU", "rejects"), None, "0", "line 1", line=1)
    ]


@pytest.mark.parametrize("name", ["a.bio", "a.tsv"])
def test_tabs_part_fields_that_hold_spaces(write, name):
    (sentence,) = read_sentences(write(name, "New York\tB-LOC \r\n\u3000\tO\r\n \t\r\n"))
    assert (sentence.words, sentence.tags) == (("New York", "\u3000"), ("B-LOC", "O"))


def test_only_blanks_part_fields(write):
    (sentence,) = read_sentences(write("a.bio", "a\u3000b\u2028 O\n"))
    assert sentence.words == ("a\u3000b\u2028",)


def test_compressed_and_standard_input(write, monkeypatch):
    expected = [Sentence(("a",), ("O",), "0", "line 1", line=1)]
    assert read_sentences(write("a.bio.xz", lzma.compress(b"a O\n"))) == expected
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"a O\n")))
    assert read_sentences("-") == expected


def test_lists_in_records(write):
    records = [{"tokens": ["EU", "2"], "tags": ["B-ORG", "O"], "k": "x"}, {"tokens": ["b"], "tags": [0], "k": "y"}]
    lines = write("a.jsonl", "".join(json.dumps(record) + "\n\n" for record in records))
    assert read_sentences(lines) == [
        Sentence(("EU", "2"), ("B-ORG", "O"), "0", "line 1"),
        Sentence(("b",), ("0",), "1", "line 3"),
    ]
    whole = write("a.json", json.dumps(records))
    assert [(sentence.id, sentence.place) for sentence in read_sentences(whole, id="k")] == [
        ("x", "entry 1"),
        ("y", "entry 2"),
    ]


def test_names_of_the_columns_of_records(write):
    path = write("a.jsonl", '{"words": ["a"], "pos": ["X"], "ner_tags": ["O"]}')
    assert read_sentences(path)[0].tags == ("O",)
    assert read_sentences(path, words="words", tags="pos")[0].tags == ("X",)
    assert read_sentences(write("b.jsonl", '{"tokens": ["a"]}'), has_tags=False)[0].tags is None


def test_a_word_in_each_row_of_csv(write):
    """A sentence goes on where its column is empty, as often in such files, or says the same."""
    expected = [
        Sentence(("EU", "a,b"), ("B-ORG", "O"), "Sentence: 1", "line 2"),
        Sentence(("Peter",), ("B-PER",), "Sentence: 2", "line 4"),
    ]
    rows = 'Sentence: 1,EU,NNP,B-ORG\n{0},"a,b",NN,O\nSentence: 2,Peter,NNP,B-PER\n'
    for again in ("", " ", "Sentence: 1"):
        path = write("a.csv", "Sentence #,Word,POS,Tag\n" + rows.format(again))
        assert read_sentences(path, "Word", "Tag", "Sentence #") == expected
    assert read_sentences(path, "Word", id="Sentence #", has_tags=False)[1].tags is None
    path = write("b.csv", "n,tokens,tags\n1,a,O\n2,b,O\n")
    assert [sentence.words for sentence in read_sentences(path, id="n")] == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        (
            "a.bio",
            "\na X O\nb X O\nc O\n",
            {},
            "a.bio line 4: 2 fields where line 2 has 3; each word needs them all, and a blank line ends a sentence",
        ),
        ("a.bio", "a O\n\nb\n", {}, "a.bio line 3: 1 field where line 1 has 2"),
        ("a.bio", "a\tO\n\tO\n", {}, "a.bio line 2: an empty word or tag; fill it in"),
        ("a.bio", "a\t \n", {}, "a.bio line 1: an empty word or tag"),
        ("a.bio", "\n-DOCSTART- O\n\n", {}, "a.bio: no sentences in it"),
        ("a.bio", "a\n", {}, "a.bio line 1: words and tags stand in the same column; there is 1, counted from 0"),
        ("a.bio", "a O\n", {"tags": "2"}, "a.bio line 1: no column 2; there are 2, counted from 0"),
        ("a.bio", "a O\n", {"words": "-3"}, "a.bio line 1: no column -3; there are 2"),
        (
            "a.bio",
            "a O\n",
            {"words": "word"},
            "a.bio: columns of a file with a word a line have no names ('word'); give the number of one, from 0, or -1",
        ),
        ("a.csv", "tokens,tags\n", {}, "a.csv: sentences are not read from CSV; write a word a line (CoNLL), or JSON"),
        (
            "a.csv",
            "tokens,tags\n",
            {},
            "or, if each row holds a word, name the column that tells the sentences apart: task.id=COLUMN",
        ),
        ("a.csv", "n,tokens,tags\n1,a,O\n,,O\n", {"id": "n"}, "a.csv line 3: an empty word or tag; fill it in"),
        ("a.csv", "n,tokens,tags\n1,a,O\n2,b,\n", {"id": "n"}, "a.csv line 3: an empty word or tag; fill it in"),
        (
            "a.csv",
            "n,tokens,tags\n,a,O\n",
            {"id": "n"},
            "a.csv line 2: column 'n' is empty, and no sentence has begun yet; fill it in",
        ),
        (
            "a.csv",
            "n,tokens,tags\n1,a,O\n2,b,O\n1,c,O\n",
            {"id": "n"},
            "a.csv: column 'n': the id '1' occurs 2 times, first in line 2; ids must differ",
        ),
        ("a.csv", "n,Word,tags\n1,a,O\n", {"id": "n"}, "a.csv line 2: no column 'tokens'; there is: n, Word, tags"),
        ("a.jsonl", '{"text": "a"}', {}, "a.jsonl line 1: no column 'tokens'; there is: text"),
        ("a.jsonl", '{"tokens": ["a"]}', {}, "a.jsonl line 1: no column 'tags'; there is: tokens"),
        (
            "a.jsonl",
            '{"tokens": "a b", "tags": ["O", "O"]}',
            {},
            'a.jsonl line 1: column \'tokens\' is no list of words or tags; write one such as ["A", "b"]',
        ),
        ("a.jsonl", '{"tokens": ["a", ""], "tags": ["O", "O"]}', {}, "column 'tokens' is no list"),
        ("a.jsonl", '{"tokens": ["a"], "tags": [null]}', {}, "column 'tags' is no list"),
        (
            "a.jsonl",
            '{"tokens": ["a"], "tags": ["O"]}\n{"tokens": ["a", "b"], "tags": ["O"]}',
            {},
            "a.jsonl line 2: 2 words, but 1 tags; each word needs one",
        ),
        ("a.json", '[{"tokens": [], "tags": []}]', {}, "a.json entry 1: a sentence without words; leave it out"),
        (
            "a.json",
            '[{"id": 1, "tokens": ["a"], "tags": ["O"]}, {"id": 1, "tokens": ["a"], "tags": ["O"]}]',
            {"id": "id"},
            "a.json: column 'id': the id '1' occurs 2 times, first in entry 1; ids must differ",
        ),
    ],
)
def test_mistakes(write, name, content, settings, message):
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        read_sentences(write(name, content), **settings)
    assert "\n" not in str(raised.value)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "num_sentences", "num_documents", "num_tags"),
    [
        ("conll2003/train.iob2", 14_041, 946, 9),
        ("conll2003/dev.iob2", 3_250, 216, 9),
        ("ner-ja/train.bio", 7_050, 1, None),
        ("ner-ja/dev.bio", 507, 1, None),
    ],
)
def test_development_data(data, name, num_sentences, num_documents, num_tags):
    found = read_sentences(data / name)
    assert len(found) == num_sentences
    assert len({sentence.document for sentence in found}) == num_documents
    if num_tags:
        assert len({tag for sentence in found for tag in sentence.tags}) == num_tags
