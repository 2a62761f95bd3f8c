"""What a connector remembers, on a real Kafka."""

from __future__ import annotations

import uuid
from functools import partial

from connectors import log_topics
from connectors.state import State
from datarail.settings import Settings
from tests.connectors.running import eventually


def test_what_we_put_ourselves_never_goes_back(servers: Settings) -> None:
    """It is read back among what others wrote, one by one here: the older is not taken for news."""
    log_topics.ensure_state(servers)
    station = f"t{uuid.uuid4().hex}.state"
    state, other = State(servers, station), State(servers, station)
    state._consumer.poll = partial(state._consumer.poll, max_records=1)
    for number in range(20):
        state.put_all({"reached": {"index": number}, "chunk": {"number": number} if number < 19 else None})
    other.put("control", {"paused": True})

    def told() -> bool:
        state.refresh()
        assert state.get("reached") == {"index": 19}
        assert state.get("chunk") is None
        return state.get("control") == {"paused": True}

    eventually(told, "what another wrote comes after it")
    other.put("reached", {"index": 99})
    eventually(
        lambda: state.refresh() or state.get("reached") == {"index": 99}, "what another wrote is taken"
    )
    state.close()
    other.close()
