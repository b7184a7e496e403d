"""Tensors in, tensors out: the encoder, its heads, and how they lie on disk; no text, labels or losses here."""
