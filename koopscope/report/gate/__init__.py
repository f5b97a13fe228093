"""What came of a gate, one module per output. Nothing here decides anything."""
