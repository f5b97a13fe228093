"""Damaged files of every kind for every verb: no hang, no crash, no traceback, no gigabytes."""
