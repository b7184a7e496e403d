"""Text files to documents, sentences and memory-mapped token shards; no model and no torch here."""
