"""How often the rules that people ask for are right: trained runs with known faults, and scores."""
