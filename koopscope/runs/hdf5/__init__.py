"""The bytes of HDF5 files: what is safe to open, the journal, fast reads."""
