"""datarail: the words every part of the line shares; no I/O of their own."""

__version__ = "0.1.0"
