"""Other ways to do what the line does, measured on the same table, the same rows, the same machine."""
