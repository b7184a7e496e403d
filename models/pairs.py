"""Pairs of sentences and how alike they are, out of plain text: python models/pairs.py TEXT... --from RUN --out FILE

An encoder that was only asked for masked words must learn to compare two texts from the few examples of a task. Here it
learns that first, from a table that ``dokkai finetune`` reads (a regression). B is

- A with words dropped, moved, or replaced by those of another sentence of its document (half of the pairs);
- that of forty sentences of its document that shares most words with it, sometimes changed as above (four in ten);
- any other sentence (one in ten).

The score, 0 to 5, needs nobody's judgement: five times the mean of three cosines, of TF-IDF of words, of TF-IDF of
letters, and of the mean vectors of RUN's word embeddings, rare words weighing more (Arora et al. 2017, "A Simple
but Tough-to-Beat Baseline for Sentence Embeddings").
"""

import argparse
import csv
import random
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from dokkai.data.sentences import split_sentences
from dokkai.data.text import read_documents
from dokkai.errors import UserError
from dokkai.files import replacing
from dokkai.pipeline import Pipeline, load

SHORTEST, LONGEST = 5, 32  # words of a sentence
FEWEST = 9  # sentences of a document
CHANGED, NEAR = 0.5, 0.4  # shares of the pairs
CHANGED_TOO = 0.3  # of the near ones
NEIGHBOURS = 40  # sentences of the document that the nearest is taken from
RARE = 1e-3  # a piece of this frequency counts half

Pair = tuple[str, str]
_WORD = re.compile(r"\w+")


def draw_pair(documents: Sequence[Sequence[str]], rng: random.Random) -> Pair:
    """A and B, in either order; documents are lists of sentences."""
    document = rng.choice(documents)
    a, share = rng.choice(document), rng.random()
    if share < CHANGED:
        b = change(a, document, rng)
    elif share < CHANGED + NEAR:
        b = nearest(a, document, rng)
        if rng.random() < CHANGED_TOO:
            b = change(b, document, rng)
    else:
        b = rng.choice(rng.choice(documents))
    return (b, a) if rng.random() < 0.5 else (a, b)


def change(sentence: str, document: Sequence[str], rng: random.Random) -> str:
    """The sentence after one to three changes: a stretch of words dropped, moved, or replaced, or single words."""
    words = sentence.split()
    for _ in range(rng.choice((1, 1, 2, 3))):
        way, number = rng.random(), len(words)
        if way < 0.4 and number > 6:
            size = rng.randint(1, number // 3)
            begin = rng.randint(0, number - size)
            del words[begin : begin + size]
        elif way < 0.6:
            size = rng.randint(1, max(1, number // 2))
            begin = rng.randint(0, number - size)
            moved = words[begin : begin + size]
            del words[begin : begin + size]
            place = rng.randint(0, len(words))
            words[place:place] = moved
        elif way < 0.8:
            other = rng.choice(document).split()
            size = rng.randint(1, min(len(other), max(1, number // 2)))
            begin, place = rng.randint(0, len(other) - size), rng.randint(0, max(0, number - size))
            words[place : place + size] = other[begin : begin + size]
        else:
            other = rng.choice(document).split()
            for _ in range(rng.randint(1, 3)):
                words[rng.randrange(len(words))] = rng.choice(other)
    return " ".join(words)


def nearest(sentence: str, document: Sequence[str], rng: random.Random) -> str:
    """Of some others of its document the one that shares the largest part of all their words."""
    own = words_of(sentence)
    others = [other for other in rng.sample(document, min(len(document), NEIGHBOURS)) if other != sentence]
    bags = {other: words_of(other) for other in others}
    return max(others, key=lambda other: len(own & bags[other]) / len(own | bags[other]), default=sentence)


def words_of(text: str) -> frozenset[str]:
    """In lower case."""
    return frozenset(_WORD.findall(text.lower()))


def scores_of(pairs: Sequence[Pair], encoder: Pipeline) -> np.ndarray:
    """``(n,)`` from 0 to 5."""
    sides = [a for a, _ in pairs], [b for _, b in pairs]
    texts = [*sides[0], *sides[1]]
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True, min_df=3, max_features=60000)
    cosines = [_mean_vectors(sides, encoder)]
    for vectorizer in (TfidfVectorizer(sublinear_tf=True), letters):
        vectorizer.fit(texts)
        products = vectorizer.transform(sides[0]).multiply(vectorizer.transform(sides[1]))
        cosines.append(np.asarray(products.sum(1))[:, 0])
    return 5 * np.mean(cosines, axis=0)


def _mean_vectors(sides: tuple[list[str], list[str]], encoder: Pipeline) -> np.ndarray:
    """Cosines of the texts' mean word embeddings; those that point apart count 0."""
    weight = encoder.model.encoder.embeddings.word.weight.detach().float().cpu().numpy()
    weight = weight - weight.mean(0)
    ids = [
        [np.array(found or [encoder.tokenizer.unk_id]) for found in encoder.tokenizer.token_ids_batch(side)]
        for side in sides
    ]
    counts = np.bincount(np.concatenate([*ids[0], *ids[1]]), minlength=len(weight))
    rarity = RARE / (RARE + counts / counts.sum())
    first, second = (np.stack([np.average(weight[part], 0, rarity[part]) for part in side]) for side in ids)
    middle = np.concatenate([first, second]).mean(0)
    first, second = first - middle, second - middle
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines: np.ndarray = np.clip((first * second).sum(1) / np.maximum(norms, 1e-9), 0, 1)
    return cosines


def documents_of(texts: Sequence[str], number: int) -> list[list[str]]:
    """Sentences of the first documents of each text, if they are enough. UserError if no document has enough."""
    documents = []
    for text in texts:
        for lines in islice(read_documents([text]), number):
            sentences = [part for line in lines for part in split_sentences(line)]
            documents.append([part for part in sentences if SHORTEST <= len(part.split()) <= LONGEST])
    documents = [document for document in documents if len(document) >= FEWEST]
    if not documents:
        raise UserError(
            f"{', '.join(texts)}: no document has {FEWEST} sentences of {SHORTEST} to {LONGEST} words to make "
            "pairs of; give longer documents (a blank line ends one)"
        )
    return documents


def write(args: argparse.Namespace) -> None:
    """The table."""
    rng, documents = random.Random(args.seed), documents_of(args.texts, args.documents)
    pairs = [draw_pair(documents, rng) for _ in range(args.number)]
    scores = scores_of(pairs, load(args.encoder, "cpu"))
    with replacing(args.out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence1", "sentence2", "score"])
        writer.writerows([*pair, round(score, 3)] for pair, score in zip(pairs, scores.tolist(), strict=True))
    print(f"{len(pairs):,} pairs of {len(documents):,} documents in {args.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    parser.add_argument("--from", dest="encoder", help="an encoder; its word embeddings are used")
    parser.add_argument("--out", type=Path, help="sentence1, sentence2, score, as .csv")
    parser.add_argument("--check", action="store_true", help="only look whether the text is good for pairs")
    parser.add_argument("--number", type=int, default=30_000)
    parser.add_argument("--documents", type=int, default=1200, help="so many of each text")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not args.check and not (args.encoder and args.out):
        parser.error("--from and --out are needed")
    try:
        if args.check:
            documents_of(args.texts, args.documents)
        else:
            write(args)
    except UserError as error:
        parser.exit(2, f"pairs.py: {error}\n")


if __name__ == "__main__":
    main()
