"""dokkai: BERT, complete. Raw text in, a reading model out."""
