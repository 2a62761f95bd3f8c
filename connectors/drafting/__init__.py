"""Drafting contracts: what a column is, told from its name, its comment and sampled values. Pure."""
