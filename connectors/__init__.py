"""Connectors: one folder per kind of source; each turns a system's committed changes into trains."""
