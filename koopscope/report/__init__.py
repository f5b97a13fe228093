"""A diagnosis as characters, pictures and files. Nothing here decides anything."""
