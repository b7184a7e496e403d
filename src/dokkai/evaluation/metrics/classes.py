"""Scores of classes: one for each example, or any number."""

from collections.abc import Collection, Sequence


def classification_scores(
    labels: Sequence[str], predictions: Sequence[str], classes: Sequence[str] | None = None
) -> dict[str, float]:
    """Score predicted classes with scikit-learn.

    Keys: ``accuracy``, ``f1_macro``, ``f1_micro`` and, for two classes, ``f1_binary`` in 0..1, ``matthews``
    (correlation) in -1..1.
    ``classes`` declares the classes and their order; without it they are the ones that occur, sorted. ``f1_binary`` is
    the F1 of the second class, ``f1_macro`` the plain mean over the classes that occur on either side; ``f1_micro`` is
    the accuracy, as each example has one class. Where a score would divide by zero it is 0. ValueError if there is
    nothing to score, the lengths differ or a class is not among the declared ones.
    """
    if len(labels) != len(predictions):
        raise ValueError(f"{len(labels)} labels but {len(predictions)} predictions")
    if not labels:
        raise ValueError("no labels to score")
    occurring = sorted({*labels, *predictions})
    classes = occurring if classes is None else classes
    if unknown := set(occurring) - set(classes):
        raise ValueError(f"{min(unknown)!r} is not among the declared classes {list(classes)}")

    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef  # here, because the import takes seconds

    truth, guesses = list(labels), list(predictions)
    scores = {
        "accuracy": float(accuracy_score(truth, guesses)),
        "f1_macro": float(f1_score(truth, guesses, labels=occurring, average="macro", zero_division=0)),
        "f1_micro": float(f1_score(truth, guesses, labels=occurring, average="micro", zero_division=0)),
        # One class only: scikit-learn defines the correlation as 0 but warns, so it is not asked.
        "matthews": float(matthews_corrcoef(truth, guesses)) if len(occurring) > 1 else 0.0,
    }
    if len(classes) == 2:
        # A mean over one class, and not average="binary", which refuses a class that does not occur.
        scores["f1_binary"] = float(f1_score(truth, guesses, labels=[classes[1]], average="macro", zero_division=0))
    return scores


def multi_label_scores(
    labels: Sequence[Collection[str]], predictions: Sequence[Collection[str]], classes: Sequence[str]
) -> dict[str, float]:
    """Score predicted sets of classes with scikit-learn.

    Keys, all in 0..1: ``f1_micro`` over all pairs of example and class, ``f1_macro`` (the plain mean over the classes
    that occur on either side), ``accuracy`` (the share of examples with all classes right). Where a score would divide
    by zero it is 0. ValueError if there is nothing to score, the lengths differ or a class is not declared.
    """
    if len(labels) != len(predictions):
        raise ValueError(f"{len(labels)} labels but {len(predictions)} predictions")
    if not labels:
        raise ValueError("no labels to score")
    occurring = {name for names in (*labels, *predictions) for name in names}
    if unknown := occurring - set(classes):
        raise ValueError(f"{min(unknown)!r} is not among the declared classes {list(classes)}")

    import numpy as np
    from sklearn.metrics import f1_score  # here, because the import takes seconds

    chosen = [name for name in classes if name in occurring]
    truth, guesses = (np.array([[name in row for name in chosen] for row in rows]) for rows in (labels, predictions))
    return {
        name: float(f1_score(truth, guesses, average=name.removeprefix("f1_"), zero_division=0)) if chosen else 0.0
        for name in ("f1_micro", "f1_macro")
    } | {"accuracy": float((truth == guesses).all(axis=1).mean())}
