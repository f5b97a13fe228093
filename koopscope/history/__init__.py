"""Many runs at a glance: one row each, from runs and from reports that were stored."""
