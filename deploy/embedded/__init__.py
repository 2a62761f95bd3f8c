"""Kafka, ClickHouse, Redis and PostgreSQL as ordinary processes on loopback, nothing preinstalled."""
