"""The worker's membership of its consumer group.

A worker is a static member, known by name. Kafka gives a static member that comes back the
partitions it had, even when it now reads other topics: a station just attached would stand still.
So a worker that starts takes its name out of the group first. Nobody waits for a session to end
then, neither after a kill -9 nor after another station.
"""

from __future__ import annotations

import logging
import os
from contextlib import closing

from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.errors import GroupIdNotFoundError, KafkaError, NoError, UnknownMemberIdError

from datarail.errors import Transient
from datarail.kafka_access import KafkaAccess

log = logging.getLogger(__name__)

#: The consumer group; another one only where several lines share one Kafka.
GROUP = os.environ.get("DATARAIL_STREAMS_GROUP", "streams")
#: DATARAIL_WORKER tells several workers of one line apart.
MEMBER = f"{GROUP}-{os.environ.get('DATARAIL_WORKER', '0')}"
_NOT_THERE = (NoError, UnknownMemberIdError, GroupIdNotFoundError)


def leave(access: KafkaAccess) -> None:
    """Take this worker's name out of the group, if it is there. Raises Transient, or Terminal where Kafka
    refuses us."""
    try:
        with closing(KafkaAdminClient(**access.kafka_python())) as admin:
            answers = admin.remove_group_members(GROUP, [MemberToRemove(group_instance_id=MEMBER)])
    except (UnknownMemberIdError, GroupIdNotFoundError):
        return
    except KafkaError as error:
        raise access.away(error, "streams") from error
    for answer in answers.values():
        if not issubclass(answer, _NOT_THERE):
            raise Transient(f"the group {GROUP} cannot be left: {answer.__name__}", part="streams")
