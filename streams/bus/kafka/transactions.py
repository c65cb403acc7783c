"""A producer of transactions, never used again after an error in one.

kafka-python's producer goes on after a failed transaction as if nothing had happened: when the broker had
refused a record, and the transaction was aborted, the next commit returned without an error although nothing
of it was committed, and the one after that committed past it. So the result of every record is looked at
before the commit, and whatever goes wrong, the producer is thrown away. Its successor has the same id: while
it starts, the broker ends what its predecessor had begun.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kafka.errors import KafkaTimeoutError, UnknownError

from streams.bus.kafka.connection import Connection
from streams.bus.kafka.messages import RANK, to_wire
from streams.bus.kafka.topics import Known
from streams.bus.protocol import Outgoing, partition_of

PATIENCE: Final = 20.0
"""Seconds that a transaction may take; the client itself would wait for ever."""

_TIMEOUT: Final = 30_000
"""Milliseconds after which the broker aborts a transaction that nobody ends; readers wait that long.

More than `PATIENCE`: who is told that it is fenced has been replaced, and was not too slow.
"""


class Transactions:
    """Transactions under one id.

    Parameters
    ----------
    connection : Connection
        Where to.
    name : str
        The transactional id; a newer producer of the same id fences this one.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._producer: Any = None

    def prepare(self) -> None:
        """Make sure that there is a producer, and that nothing of an earlier one is open.

        Raises
        ------
        KafkaError
            If that fails.
        """
        if self._producer is None:
            producer = self._connection.producer(
                transactional_id=self._name,
                transaction_timeout_ms=_TIMEOUT,
                max_block_ms=_TIMEOUT,
                linger_ms=_TIMEOUT,  # until they are flushed: a transaction's messages go together
            )
            try:
                producer.init_transactions()
            except BaseException:
                _discard(producer)
                raise
            self._producer = producer

    def run(
        self,
        outputs: Sequence[Outgoing],
        topics: Mapping[str, Known],
        offsets: Mapping[Any, Any] | None = None,
        membership: Any = None,
    ) -> None:
        """Send messages and offsets, all or none.

        Parameters
        ----------
        outputs : sequence of Outgoing
            The messages.
        topics : mapping
            What is known of their topics.
        offsets : mapping, optional
            Of the group, by ``TopicPartition``.
        membership : ConsumerGroupMetadata, optional
            By which the broker knows a member that is none any more.

        Raises
        ------
        KafkaError
            If it fails; whether it was committed all the same is known after the next :meth:`prepare`.
        """
        self.prepare()
        producer, self._producer = self._producer, None  # given back if all goes well
        try:
            _bounded(lambda: _transact(producer, outputs, topics, offsets, membership), PATIENCE)
        except BaseException:
            _discard(producer)
            raise
        self._producer = producer

    def close(self) -> None:
        """Let go of the producer."""
        if self._producer is not None:
            _discard(self._producer)
            self._producer = None


def _transact(
    producer: Any,
    outputs: Sequence[Outgoing],
    topics: Mapping[str, Known],
    offsets: Mapping[Any, Any] | None,
    membership: Any,
) -> None:
    producer.begin_transaction()
    now = round(time.time() * 1000)
    sent = [_send(producer, one, topics[one.topic], (now, rank)) for rank, one in enumerate(outputs)]
    _flush(producer, time.monotonic() + PATIENCE)
    for future in sent:
        future.get(PATIENCE)
    if offsets:
        producer.send_offsets_to_transaction(dict(offsets), membership)
    producer.commit_transaction()


def _flush(producer: Any, deadline: float) -> None:
    """Wait until every record has its result.

    Records that are too long together are sent again in parts by the client, whose flush then fails
    ("Future not done") instead of waiting for these too.
    """
    while True:
        try:
            producer.flush(PATIENCE)
            return
        except UnknownError:
            if time.monotonic() > deadline:
                raise


def _send(producer: Any, output: Outgoing, topic: Known, moment: tuple[int, int]) -> Any:
    """Send a message, with the time of its transaction and its place in it."""
    gone = topic.compacted and not output.value
    now, rank = moment
    return producer.send(
        to_wire(output.topic),
        value=None if gone else output.value,
        key=output.key.encode(),
        headers=[*((name, value.encode()) for name, value in output.headers.items()), (RANK, b"%d" % rank)],
        partition=partition_of(output.key, topic.partitions),
        timestamp_ms=now,
    )


def _bounded(call: Callable[[], None], seconds: float) -> None:
    """Call in a thread of its own, and give up waiting after some time."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True, name="transaction")
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise KafkaTimeoutError(f"no answer after {seconds:.0f} s")
    if raised:
        raise raised[0]


def _discard(producer: Any) -> None:
    """Close a producer in the background: it may wait for a broker that is gone."""

    def close() -> None:
        with contextlib.suppress(Exception):
            producer.close(timeout=2 * PATIENCE)

    threading.Thread(target=close, daemon=True, name="producer-closing").start()
