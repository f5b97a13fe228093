"""Ways of training faster, held against each other: averages, jumps, jumps with a look, others."""
