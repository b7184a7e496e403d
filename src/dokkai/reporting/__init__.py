"""What a person looks at after a run: its curves, and a page with all that is known of it."""
