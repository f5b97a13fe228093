"""The numbers that several diagnostics rest on."""
