"""Vectors of a file of texts: JSON lines on standard output, or an array on disk."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dokkai.data.text import read_lines
from dokkai.errors import UserError, did_you_mean
from dokkai.files import replacing
from dokkai.pipeline import POOLINGS, Pipeline, load
from dokkai.progress import Progress, say
from dokkai.tasks import Similarity
from dokkai.tokenization import Encoding, Tokenizer

_FORMATS = ("dokkai", "google")
_GOOGLE_LENGTH = 128  # the release's max_seq_length
_BLOCK = 256  # texts at a time
_GOOGLE_BLOCK = 32  # all layers of all tokens are kept until a block is written


def embed_lines(
    run: str | Path,
    file: str,
    layers: Sequence[int],
    pooling: str | None = None,
    out: Path | None = None,
    device: str | None = None,
    format: str = "dokkai",
    max_length: int | None = None,
) -> None:
    """Embed each line, cut to ``max_length`` tokens; how many lines were cut is said at the end.

    JSON lines carry ``text`` and ``vector``, or with pooling "none" ``tokens`` with ``vectors``. The format "google" is
    that of ``extract_features.py`` of the release: pairs of texts with `` ||| `` between them, 128 tokens if
    ``max_length`` is not given, and 0 is the first layer, not the embeddings.
    """
    _check(pooling or "mean", pooling is not None, out, format)
    if out is not None and out.exists() and Path(file).exists() and out.samefile(file):
        raise UserError(f"--out {out} is the file of the texts; give another name")
    is_google = format == "google"
    pipeline = load(run, device, "fp32" if is_google else "auto")
    positions = pipeline.model.config.max_position_embeddings
    if max_length is not None and max_length > positions:
        raise UserError(f"--max-length is {max_length}, but the model has {positions} positions; lower it")
    if is_google:
        most, numbers = max_length or min(_GOOGLE_LENGTH, positions), _google_numbers(layers, pipeline)
        lines = _read(pipeline, file, numbers, "none", most, _GOOGLE_BLOCK, with_pairs=True)
        for index, (_, item, x_LD) in enumerate(lines):
            tokens = [pipeline.tokenizer.token(i) for i in item.input_ids]
            print(json.dumps(_google_line(index, tokens, layers, x_LD)))
        return
    texts = _read(pipeline, file, layers, pooling or pipeline.pooling, max_length or pipeline.text_length, _BLOCK)
    if out is not None:
        _write_array((vector for _, _, vector in texts), out, file)
    for text, item, vector in texts:
        if pooling == "none":
            tokens = [pipeline.tokenizer.token(i) for i in item.input_ids]
            print(json.dumps({"text": text, "tokens": tokens, "vectors": _rounded(vector)}, ensure_ascii=False))
        else:
            print(json.dumps({"text": text, "vector": _rounded(vector)}, ensure_ascii=False))
    if pooling != "none" and not isinstance(pipeline.task, Similarity):
        say(
            f"note: {run} was not tuned for vectors of texts, so their cosines say little about meaning; "
            "`dokkai finetune sentence-vectors` tunes it"
        )


def _rounded(values: np.ndarray) -> Any:
    """Lists of numbers with six decimals: of float32 more would be printed."""
    return np.round(values.astype(np.float64), 6).tolist()


def _check(pooling: str, is_given: bool, out: Path | None, format: str) -> None:
    if format not in _FORMATS:
        raise UserError(f"unknown format '{format}'{did_you_mean(format, _FORMATS)}")
    if pooling not in POOLINGS:
        raise UserError(f"unknown pooling '{pooling}'{did_you_mean(pooling, POOLINGS)}")
    if format == "google" and (is_given or out is not None):
        raise UserError("--format google is JSON lines with a vector per token; leave --pooling and --out away")
    if out is not None and pooling == "none":
        raise UserError(
            "an array holds one vector per text; use --pooling mean, cls or max with --out, or leave --out away"
        )


def _write_array(vectors: Iterable[np.ndarray], out: Path, file: str) -> None:
    """One after the other, so that memory does not grow; the header is written again when their number is known."""
    with replacing(out) as temporary, temporary.open("wb") as stream:
        number = width = 0
        for vector in vectors:
            if not number:
                width = len(vector)
                _write_header(stream, 0, width)
            stream.write(vector.astype(np.float32, copy=False).tobytes())
            number += 1
        if not number:
            name = "standard input" if file == "-" else file
            raise UserError(f"{name}: no lines in it, so there is nothing to embed")
        stream.seek(0)
        _write_header(stream, number, width)


def _write_header(stream: BinaryIO, number: int, width: int) -> None:
    """It has room for any number of rows: NumPy leaves 21 digits for the first axis."""
    shape = {"shape": (number, width), "fortran_order": False, "descr": np.lib.format.dtype_to_descr(np.dtype("<f4"))}
    np.lib.format.write_array_header_1_0(stream, shape)


def _read(
    pipeline: Pipeline,
    file: str,
    layers: Sequence[int],
    pooling: str,
    most: int,
    block_size: int,
    with_pairs: bool = False,
) -> Iterator[tuple[str, Encoding, np.ndarray]]:
    """Each line in order, its tokens, and their vectors, pooled."""
    num_lines = num_cut = 0
    with Progress("embedding", unit="texts") as progress:
        for block in _blocks(file, block_size):
            items = _encode(pipeline.tokenizer, block, most, with_pairs)
            vectors = {index: POOLINGS[pooling](x_LD) for index, x_LD in pipeline.states(items, layers)}
            for index, (text, item) in enumerate(zip(block, items, strict=True)):
                yield text, item, vectors[index]
            num_lines += len(block)
            num_cut += sum(item.num_truncated > 0 for item in items)
            progress.advance(len(block))
    if num_cut:
        say(f"{num_cut} of {num_lines} lines are cut to {most} tokens")


def _blocks(file: str, size: int) -> Iterator[list[str]]:
    block: list[str] = []
    for line in read_lines(file):
        block.append(line)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block


def _encode(tokenizer: Tokenizer, lines: Sequence[str], most: int, with_pairs: bool) -> list[Encoding]:
    parts = [_pair(line) if with_pairs else (line, None) for line in lines]
    firsts = tokenizer.tokens_batch([first for first, _ in parts])
    seconds = tokenizer.tokens_batch([second or "" for _, second in parts])
    return [
        tokenizer.assemble(first, None if part[1] is None else second, most)
        for part, first, second in zip(parts, firsts, seconds, strict=True)
    ]


def _pair(line: str) -> tuple[str, str | None]:
    first, separator, second = line.strip().rpartition(" ||| ")  # the last one, as the release's pattern finds
    return (first, second) if separator else (line, None)


def _google_numbers(layers: Sequence[int], pipeline: Pipeline) -> list[int]:
    """Our numbers of the release's layers, which leave the embeddings out."""
    number = pipeline.model.config.num_hidden_layers
    if any(not -number <= layer < number for layer in layers):
        raise UserError(f"layers go from {-number} to {number - 1} with --format google, not {list(layers)}")
    return [layer + 1 if layer >= 0 else layer for layer in layers]


def _google_line(index: int, tokens: Sequence[str], layers: Sequence[int], x_LD: np.ndarray) -> dict[str, Any]:
    """One line of ``extract_features.py``; ``linex_index`` is spelt so there."""
    features = []
    for token, row in zip(tokens, x_LD, strict=True):
        parts = zip(layers, np.split(row, len(layers)), strict=True)
        entries = [{"index": layer, "values": _rounded(part)} for layer, part in parts]
        features.append({"token": token, "layers": entries})
    return {"linex_index": index, "features": features}
