"""What is said of the examples before a fine-tuning."""

from dokkai.data.checks import (
    check_examples,
    find_few,
    find_imbalance,
    find_missing,
    find_rare_labels,
    find_repeats,
    find_spellings,
    show_labels,
)
from dokkai.data.columns import Sentence
from dokkai.data.label_sets import LabelledText
from dokkai.data.rows import Row
from dokkai.data.squad import Question


def row(text, label, line, pair=None):
    return Row(text, pair, label, str(line), f"line {line}")


def test_labels_in_their_order():
    assert show_labels(("no", "yes")) == "labels, in the order of the logits: no, yes"
    assert show_labels(()) is None
    assert show_labels([str(n) for n in range(21)]).endswith(", 18, 19, ... (21 in all)")


def test_labels_that_differ_in_their_case():
    assert find_spellings(["Yes", "no", "yes", "YES"]) == (
        "'Yes', 'yes', 'YES' are different labels; if they mean the same, write them alike"
    )
    assert find_spellings(["yes", "no"]) is None and find_spellings([]) is None
    lines = check_examples([row("a", "Yes", 2), row("b", "yes", 3)], [], ["Yes", "yes"])
    assert any("are different labels" in line for line in lines)


def test_imbalance_is_said_above_three_to_one():
    assert find_imbalance(["a"] * 6 + ["b"] * 2 + ["c"] * 3) is None
    assert find_imbalance(["a"] * 7 + ["b"] * 2 + ["c"]) == (
        "the classes are uneven: 7 of 10 examples are 'a', 1 'c'; 'a' alone would reach an accuracy of 70.0%, "
        "so look at f1_macro too"
    )
    assert find_imbalance([]) is None


def test_imbalance_of_texts_with_several_labels():
    sets = [("a", "b"), ("a",), ("b",), ()]
    assert find_rare_labels(sets, ("a", "b")) is None
    assert find_rare_labels([*sets, ("a", "c")], ("a", "b", "c")) is None
    assert find_rare_labels([*sets, ("a", "c"), ("a",)], ("a", "b", "c")) == (
        "the labels are uneven: 4 of 6 texts have 'a', 1 'c'; look at f1_macro too"
    )
    assert "3 of 5 texts have 'a', 0 'z'" in find_rare_labels([*sets, ("a",)], ("a", "b", "z"))


def test_labels_without_an_example():
    assert find_missing(["a", "b", "a"], ("a", "b")) is None
    line = "no example of 'c' to train on; add some, or leave out of task.labels what has none"
    assert find_missing(["a", "b"], ("a", "c", "b")) == line
    assert find_missing(["a"], [str(n) for n in range(21)]).startswith("no example of '0', '1', ")
    assert ", '19', ... to train on" in find_missing(["a"], [str(n) for n in range(21)])
    rows = [row("x", "a", 1), row("y", "b", 2)]
    assert check_examples(rows, [row("z", "c", 3)], ("a", "b", "c"))[1] == line  # one to measure on is none to learn
    sets = [LabelledText(text, None, labels, text, "line 1") for text, labels in (("x", ("a", "b")), ("y", ()))]
    assert line in check_examples(sets, [], ("a", "b", "c"))
    sentences = [Sentence(("x", "y"), ("a", "b"), "0", "line 1")]
    assert check_examples(sentences, [], ("a", "b", "c"))[1] == line
    assert len(check_examples(sentences, [], ("a", "b"))) == 1


def test_labels_of_the_file_are_not_to_be_left_out():
    """Nobody named them: they are in the file, but not among the examples to train on."""
    line = "no example of 'c' to train on, as all are held out to measure on, or cut off by --limit; add some"
    assert find_missing(["a", "b"], ("a", "b", "c"), None) == line
    rows = [row("x", "a", 1), row("y", "b", 2)]
    assert check_examples(rows, [row("z", "c", 3)], ("a", "b", "c"), None)[1] == line
    assert find_missing(["a"], ("a", "c"), "task.label_columns") == (
        "no example of 'c' to train on; add some, or leave out of task.label_columns what has none"
    )


def test_few_examples_to_measure_on():
    assert find_few([]) is None and find_few(range(50)) is None
    assert find_few(range(49)) == (
        "only 49 examples to measure on: much of a score, and of the choice of the best weights, is chance; "
        "give more with --dev, or a larger train.dev_share"
    )


def test_repeats():
    train = [row("a", "x", 2), row("b", "x", 3, pair="c")]
    assert find_repeats(train, [row("b", "x", 2), row("d", "x", 3)]) is None
    assert find_repeats(train, []) is None
    dev = [row("b", "y", 2, pair="c"), row("d", "x", 3), *[row("a", "x", line) for line in range(4, 9)]]
    assert find_repeats(train, dev) == (
        "6 of 7 examples to measure on are among those to train on too (line 2, line 4, line 5, line 6, line 7, ...); "
        ""
        "the scores flatter the model"
    )


def test_repeated_questions_are_named_by_their_ids():
    train = [Question("q1", "Who?", "He.", ())]
    assert "1 of 1 examples to measure on are among those to train on too (id q2)" in find_repeats(
        train, [Question("q2", "Who?", "He.", ())]
    )


def test_all_of_it():
    train = [row(str(n), "a" if n else "b", n + 2) for n in range(9)]
    said = check_examples(train, train[:1], ("a", "b"))
    assert [line.split(":")[0] for line in said[:2]] == ["labels, in the order of the logits", "the classes are uneven"]
    assert said[2].startswith("1 of 1 examples to measure on")
    assert said[3].startswith("only 1 examples to measure on")
    train = [LabelledText(str(n), None, ("a",) if n else (), str(n), f"line {n}") for n in range(9)]
    assert check_examples(train, [], ("a", "b"))[1].startswith("the labels are uneven")
    assert check_examples([row("x", "2.5", 1)] * 9 + [row("y", "3", 2)], [], ()) == []  # numbers are no classes


def test_examples_without_a_label_that_is_a_text():
    sentences = [Sentence((word,), ("O",), word, "line 1") for word in "abcd"]
    assert check_examples(sentences, sentences[:1], ()) == [
        find_repeats(sentences, sentences[:1]),
        find_few(sentences[:1]),
    ]
    assert check_examples(sentences, [], ()) == []
