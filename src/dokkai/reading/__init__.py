"""Questions put to files and folders: documents, passages, their ranking, the best answers, a conversation."""
