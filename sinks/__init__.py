"""Sinks: where clean trains land, each named by its role and each a process of its own."""
