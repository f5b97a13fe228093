"""What a recording of sketches loses against one of weights."""
