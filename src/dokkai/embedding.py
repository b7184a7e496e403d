"""Vectors of a file of texts: JSON lines on standard output, or an array on disk."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dokkai.data.text import read_lines
from dokkai.errors import UserError, did_you_mean
from dokkai.files import replacing
from dokkai.pipeline import load
from dokkai.progress import Progress

_POOLINGS = ("mean", "cls", "none")
_BLOCK = 256  # texts at a time


def embed_lines(
    run: str | Path, file: str, layers: Sequence[int], pooling: str, out: Path | None, device: str | None = None
) -> None:
    """Embed each line. JSON lines carry ``text`` and ``vector``, or with pooling "none" ``tokens`` with ``vectors``."""
    if pooling not in _POOLINGS:
        raise UserError(f"unknown pooling '{pooling}'{did_you_mean(pooling, _POOLINGS)}")
    if out is not None and pooling == "none":
        raise UserError("an array holds one vector per text; use --pooling mean or cls with --out, or leave --out away")
    pipeline = load(run, device)
    kept: list[np.ndarray] = []
    block: list[str] = []

    def flush() -> None:
        vectors = pipeline.embed(block, layers, pooling)  # type: ignore[arg-type]
        for text, vector in zip(block, vectors, strict=True):
            if out is not None:
                kept.append(vector)
            elif pooling == "none":
                most = pipeline.model.config.max_position_embeddings
                ids = pipeline.tokenizer.encode(text, max_length=most).input_ids
                tokens = [pipeline.tokenizer.token(i) for i in ids]
                rows = np.round(vector, 6).tolist()
                print(json.dumps({"text": text, "tokens": tokens, "vectors": rows}, ensure_ascii=False))
            else:
                print(json.dumps({"text": text, "vector": np.round(vector, 6).tolist()}, ensure_ascii=False))
        progress.advance(len(block))
        block.clear()

    with Progress("embedding", unit="texts") as progress:
        for line in read_lines(file):
            block.append(line)
            if len(block) == _BLOCK:
                flush()
        if block:
            flush()
    if out is not None:
        if not kept:
            name = "standard input" if file == "-" else file
            raise UserError(f"{name}: no lines in it, so there is nothing to embed")
        with replacing(out) as temporary, temporary.open("wb") as stream:
            np.save(stream, np.stack(kept))
