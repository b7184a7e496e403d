"""What needs no encoder, for every kind of task in ``paper_tasks.py``: ``majority``, ``tf-idf`` and ``features``.

The strength of a linear model's regularization is searched by five-fold cross-validation on the training file, for
classes by the metric of the task; the dev file is only predicted.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from dokkai.tasks import Task

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
TAGGER_STRENGTH = 10.0  # not searched: a fit takes minutes
FOLDS = 5
_WORD = re.compile(r"\w+")
_REPEATED = re.compile(r"(.)(?=\1)")


def baselines(task: Task, train: Sequence[Any], dev: Sequence[Any]) -> list[dict[str, Any]]:
    """The scores of all that there are for the kind, each as a run with its ``side`` and ``metrics``."""
    models: dict[str, Callable[..., list[dict[str, Any]]]] = {"majority": majority}
    if task.kind == "similarity":
        models = {"tf-idf": cosines}
    elif task.kind == "multiple-choice":
        models |= {"tf-idf": nearest_choices, "features": choices}
    elif task.kind == "question-answering":
        models |= {"tf-idf": sentences}
    elif task.kind == "token-classification":
        models |= {"features": tags}
    else:
        model = numbers if task.kind == "regression" else classes
        models |= {"tf-idf": model}
        if train[0].pair is not None:
            models |= {"features": partial(model, is_rich=True)}
    return [{"side": side, "metrics": task.score(dev, model(task, train, dev))} for side, model in models.items()]


def majority(task: Task, train: Sequence[Any], dev: Sequence[Any]) -> list[dict[str, Any]]:
    """The commonest answer for everything."""
    if task.kind == "regression":
        return [{"value": float(np.mean([float(item.label) for item in train]))}] * len(dev)
    if task.kind == "multiple-choice":
        place = Counter(item.label for item in train).most_common(1)[0][0]
        return [{"probabilities": [float(n == place) for n in range(len(item.choices))]} for item in dev]
    if task.kind == "question-answering":
        return [{"id": item.id, "answer": "", "null_odds": 0.0} for item in dev]
    if task.kind == "token-classification":
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for item in train:
            for word, tag in zip(item.words, item.tags, strict=True):
                counts[word][tag] += 1
        best = {word: found.most_common(1)[0][0] for word, found in counts.items()}
        return [{"tags": [best.get(word, "O") for word in item.words]} for item in dev]
    return [{"label": Counter(item.label for item in train).most_common(1)[0][0]}] * len(dev)


# --- one text or two ------------------------------------------------------------------------------------------------


def classes(task: Task, train: Sequence[Any], dev: Sequence[Any], is_rich: bool = False) -> list[dict[str, Any]]:
    """Logistic regression on the features of the texts."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, make_scorer, matthews_corrcoef
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    x, y = text_features(train, dev, is_rich)
    metric: Any = task.primary_metric
    if metric == "matthews":
        metric = make_scorer(matthews_corrcoef)
    elif metric == "f1_binary":
        metric = make_scorer(f1_score, pos_label=task.labels[1])
    solver = "liblinear" if len(task.labels) == 2 else "lbfgs"  # the first is far sooner done, and knows two classes
    wanted = {"C": STRENGTHS, "class_weight": [None, "balanced"]}
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)  # files may be sorted by their source
    model = GridSearchCV(LogisticRegression(solver=solver, max_iter=1000), wanted, scoring=metric, cv=folds)
    model.fit(x, [item.label for item in train])
    return [{"label": str(label)} for label in model.predict(y)]


def numbers(task: Task, train: Sequence[Any], dev: Sequence[Any], is_rich: bool = False) -> list[dict[str, Any]]:
    """Ridge regression on the same."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, KFold

    x, y = text_features(train, dev, is_rich)
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    model = GridSearchCV(Ridge(), {"alpha": [1 / strength for strength in STRENGTHS]}, cv=folds)
    values = model.fit(x, [float(item.label) for item in train]).predict(y)
    return [{"value": float(value)} for value in values]


def cosines(task: Task, train: Sequence[Any], dev: Sequence[Any]) -> list[dict[str, Any]]:
    """The cosine of the words of two texts by TF-IDF; of ``train`` only how frequent words are, no score."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(text for item in train for text in (item.text, item.pair))
    first, second = map(vectorizer.transform, ([item.text for item in dev], [item.pair for item in dev]))
    return [{"similarity": float(value)} for value in np.asarray(first.multiply(second).sum(1))[:, 0]]


def text_features(train: Sequence[Any], dev: Sequence[Any], is_rich: bool) -> tuple[Any, Any]:
    """TF-IDF of words and pairs of words; of two texts product, difference and cosine; rich: all of their likeness."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    vectorizer.fit([text for item in train for text in (item.text, item.pair) if text is not None])
    if train[0].pair is None:
        found = [vectorizer.transform([item.text for item in items]) for items in (train, dev)]
        return found[0], found[1]
    likeness = Likeness([text for item in train for text in (item.text, item.pair)])
    parts = []
    for items in (train, dev):
        sides = [item.text for item in items], [item.pair for item in items]
        first, second = map(vectorizer.transform, sides)
        shared = first.multiply(second).tocsr()
        parts.append([shared, abs(first - second), likeness(*sides) if is_rich else np.asarray(shared.sum(1))])
    _scale(parts[0][-1], parts[1][-1])
    return hstack(parts[0]).tocsr(), hstack(parts[1]).tocsr()


class Likeness:
    """How alike two texts are: cosines of TF-IDF of words and of letters, shared words by either's and by all, lengths.

    ``texts`` give the weights of words and letters.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=2)
        self._vectorizers = [TfidfVectorizer(sublinear_tf=True).fit(texts), letters.fit(texts)]

    def __call__(self, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """``(n, 7)`` of so many pairs."""
        columns = [
            np.asarray(vectorizer.transform(first).multiply(vectorizer.transform(second)).sum(1))[:, 0]
            for vectorizer in self._vectorizers
        ]
        words = [(set(words_of(one)), set(words_of(other))) for one, other in zip(first, second, strict=True)]
        shares = [
            [
                len(one & other) / max(1, len(one)),
                len(one & other) / max(1, len(other)),
                len(one & other) / max(1, len(one | other)),
                math.log((1 + len(one)) / (1 + len(other))),
                abs(math.log((1 + len(one)) / (1 + len(other)))),
            ]
            for one, other in words
        ]
        return np.column_stack([*columns, np.array(shares)])


def words_of(text: str) -> list[str]:
    """In lower case."""
    return _WORD.findall(text.lower())


def _scale(train: np.ndarray, dev: np.ndarray) -> None:
    """Deviation 1 and mean 0 on the training file, in place."""
    middle, deviation = train.mean(0), train.std(0) + 1e-9
    for values in (train, dev):
        values -= middle
        values /= deviation


# --- choices --------------------------------------------------------------------------------------------------------


def nearest_choices(task: Task, train: Sequence[Any], dev: Sequence[Any]) -> list[dict[str, Any]]:
    """The choice most like its text: the cosine of TF-IDF, the question's words included."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    vectorizer.fit([item.context for item in train])
    predictions = []
    for item in dev:
        texts = vectorizer.transform([f"{item.question} {choice}" for choice in item.choices])
        likeness = (texts @ vectorizer.transform([item.context]).T).toarray()[:, 0]
        predictions.append({"probabilities": likeness.tolist()})
    return predictions


def choices(task: Task, train: Sequence[Any], dev: Sequence[Any]) -> list[dict[str, Any]]:
    """Logistic regression says of each choice whether it is right: its words by TF-IDF, how like the text it is."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, GroupKFold

    likeness = Likeness([item.context for item in train])
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    vectorizer.fit([choice for item in train for choice in item.choices])
    dense = [choice_features(items, likeness) for items in (train, dev)]
    _scale(*dense)
    words = [vectorizer.transform([choice for item in items for choice in item.choices]) for items in (train, dev)]
    x, y = (hstack(parts).tocsr() for parts in zip(words, dense, strict=True))
    is_right = [number == item.label for item in train for number in range(len(item.choices))]
    groups = [number for number, item in enumerate(train) for _ in item.choices]
    search = GridSearchCV(
        LogisticRegression(solver="liblinear"), {"C": STRENGTHS}, scoring="neg_log_loss", cv=GroupKFold(FOLDS)
    )
    scores = iter(search.fit(x, is_right, groups=groups).predict_proba(y)[:, 1].tolist())
    return [{"probabilities": [next(scores) for _ in item.choices]} for item in dev]


def choice_features(questions: Sequence[Any], likeness: Likeness) -> np.ndarray:
    """Of each choice alone and behind its question: likeness to the text, best window; and all that beside the others'.

    The window is the baseline of MCTest (Richardson et al. 2013, algorithm 1).
    """
    rows = []
    for item in questions:
        asked = [f"{item.question} {choice}" for choice in item.choices]
        texts = [item.context] * len(asked)
        words = words_of(item.context)
        windows = [[best_window(words, text) for text in side] for side in (asked, item.choices)]
        own = np.column_stack([likeness(item.choices, texts), likeness(asked, texts), *windows])
        rows.append(np.column_stack([own, own - own.mean(0), own == own.max(0)]))
    return np.concatenate(rows)


def best_window(words: Sequence[str], text: str) -> float:
    """The highest weight of the text's words in a stretch of the passage of as many words; rare words weigh more."""
    counts, wanted = Counter(words), set(words_of(text))
    weights = np.array([math.log1p(1 / counts[word]) if word in wanted else 0.0 for word in words])
    sums = np.concatenate([[0.0], weights.cumsum()])
    size = min(len(words), max(1, len(wanted)))
    return float((sums[size:] - sums[: len(sums) - size]).max())


# --- questions ------------------------------------------------------------------------------------------------------


def sentences(task: Task, train: Sequence[Any], dev: Sequence[Any]) -> list[dict[str, Any]]:
    """The sentence most like the question by TF-IDF; none if it is less like it than what is best for training ones."""
    from dokkai.evaluation.metrics import best_null_threshold

    found = nearest_sentences(dev)
    if not task.settings.no_answer:
        return found
    sample = [train[number] for number in np.random.default_rng(0).permutation(len(train))[:5000]]
    answers = {item.id: [answer.text for answer in item.answers] for item in sample}
    tried = nearest_sentences(sample)
    texts, odds = ({item["id"]: item[key] for item in tried} for key in ("answer", "null_odds"))
    threshold = best_null_threshold(answers, texts, odds)["best_f1_thresh"]
    return [item | {"answer": "" if item["null_odds"] > threshold else item["answer"]} for item in found]


def nearest_sentences(questions: Sequence[Any]) -> list[dict[str, Any]]:
    """For each question the sentence of its text that is most like it; ``null_odds`` are one minus the cosine."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from dokkai.data.sentences import split_sentences

    vectorizer = TfidfVectorizer(sublinear_tf=True).fit({item.context for item in questions})
    vectors: dict[str, tuple[list[str], Any]] = {}
    predictions = []
    for item in questions:
        if item.context not in vectors:
            found = split_sentences(item.context)
            vectors[item.context] = found, vectorizer.transform(found)
        found, rows = vectors[item.context]
        likeness = (rows @ vectorizer.transform([item.question]).T).toarray()[:, 0]
        best = int(likeness.argmax())
        predictions.append({"id": item.id, "answer": found[best], "null_odds": 1.0 - float(likeness[best])})
    return predictions


# --- tags -----------------------------------------------------------------------------------------------------------


def tags(task: Task, train: Sequence[Any], dev: Sequence[Any]) -> list[dict[str, Any]]:
    """Logistic regression for each word by itself: its letters, its shape, and its neighbours'."""
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import LogisticRegression

    hasher = FeatureHasher(1 << 18, input_type="string", alternate_sign=False)
    x, y = (
        hasher.transform(features for item in items for features in word_features(item.words)) for items in (train, dev)
    )
    model = LogisticRegression(C=TAGGER_STRENGTH, max_iter=200)
    found = iter(model.fit(x, [tag for item in train for tag in item.tags]).predict(y))
    return [{"tags": [str(next(found)) for _ in item.words]} for item in dev]


def word_features(words: Sequence[str]) -> Iterable[list[str]]:
    """Names of features for each word of a sentence."""
    edge = ["", ""]
    padded = [*edge, *words, *edge]
    around = [_word_facts(word) for word in padded]
    for place, word in enumerate(words, start=2):
        low = word.lower()
        names = [f"is {word}"]
        names += [f"starts {low[:n]}" for n in range(1, 5)] + [f"ends {low[-n:]}" for n in range(1, 5)]
        for step in range(-2, 3):
            names += [f"{step} {fact}" for fact in around[place + step]]
        names += [f"pair {padded[place - 1].lower()} {low}", f"pair {low} {padded[place + 1].lower()} ."]
        names += [f"shapes {' '.join(around[place + step][1] for step in (-1, 0, 1))}"]
        yield names


def _word_facts(word: str) -> list[str]:
    """In lower case, its shape (Xx0-), its last letters."""
    shape = "".join("X" if c.isupper() else "x" if c.islower() else "0" if c.isdigit() else c for c in word)
    return [f"word {word.lower()}", f"shape {_REPEATED.sub('', shape)}", f"end {word.lower()[-3:]}"]
