"""Results as dictionaries, drawings and tables, for notebooks: what ``koopscope._views`` names."""
