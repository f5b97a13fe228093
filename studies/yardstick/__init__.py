"""The runs that the verdicts are tuned and measured on: many families, trained and labelled."""
