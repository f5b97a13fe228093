"""Text for terminals: width, glyphs, colour, number formats, braille pictures."""
