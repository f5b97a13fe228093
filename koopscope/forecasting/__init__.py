"""Where training is heading: predicted weights, and how far ahead they can be trusted."""
