"""Google's checkpoints without TensorFlow: the table, the messages in it, the bundle of tensors, BERT out of it."""
