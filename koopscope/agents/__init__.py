"""For programs that talk to language models: read-only questions about runs."""
