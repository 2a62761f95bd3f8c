"""Names of the Kafka topics, and the consumer groups that read them."""

from __future__ import annotations

QUARANTINE = "quarantine"  # one JSON record per held change or unreadable record
STATE = "datarail.state"  # compacted: connectors' epochs, snapshot chunks, pause marks
TRAIN_PATTERN = r"^train\..+"
RAW_PATTERN = r"^raw\..+"


def raw(station: str) -> str:
    """Trains as captured, one topic per station."""
    return f"raw.{station}"


def train(station: str) -> str:
    """Clean trains, partition for partition those of `raw`."""
    return f"train.{station}"


def clean(station: str, resource: str) -> str:
    """One JSON record per clean change, for subscribers: clean.<department>.<resource>."""
    return f"clean.{station.partition('.')[0]}.{resource}"


def station_of(topic: str) -> str:
    """The station of a raw or train topic."""
    return topic.partition(".")[2]
