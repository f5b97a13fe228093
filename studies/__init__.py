"""Long studies, run by hand; their results are committed next to them."""
