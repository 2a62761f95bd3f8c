"""Examples: a sample city to run the line on."""
