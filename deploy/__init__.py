"""Bringing the line up and taking it down: the embedded servers and the supervised parts."""
