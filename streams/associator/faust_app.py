"""The associator as a Faust app: agents that forward and one that reduces, tables, and a clock that ticks.

Every message is acknowledged when all that follows from it is written: its associations, then its changes
of the tables. So whatever dies when, what was not finished is done again, to the same end. What it cannot go
on after ends the process, which loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import structlog

from schemas.errors import CalstreamError, Retriable, Unprocessable
from schemas.events import Event, FailureEvent, PlanEvent, ProductEvent
from streams.associator.faust_making import make_app, message_of
from streams.associator.tables import Desks, forwarded, in_order, tick
from streams.bus import Message, Outgoing
from streams.bus.kafka.connection import Connection
from streams.bus.protocol import partition_of
from streams.envelope import unpack
from streams.topics import ASSOCIATOR_TABLES, MEMBERS, changelog

TURN: Final = 0.25
"""Seconds between two looks at the clock."""

AGAIN: Final = 10.0
"""Seconds after which a tick that nothing came of is sent again."""

TOGETHER: Final = 256
"""Messages that are worked on at once at most."""

STOP_WITHIN: Final = 15.0
"""Seconds for which a worker that ends waits for what it has in work."""

_AGAIN: Final = "it ends, to be started again"

_PAUSE: Final = 1.0
"""Seconds between two tries of what may work later."""

T = TypeVar("T")

log = structlog.get_logger("calstream")


class _SharedOutAnewError(Exception):
    """The group has been shared out anew: what was read before comes again, here or elsewhere."""


class AssociatorApp:
    """One worker; several share the partitions. Made and used within one event loop.

    Parameters
    ----------
    connection : Connection
        To the brokers; the topics, changelogs among them, must be there.
    sources : tuple of str
        Topics to forward from.
    partitions : int
        Of every topic.
    publish : callable
        Publishes messages and how many associations are open, all or none, and returns when they are safe;
        called in threads.
    emitted : callable
        Told of the completeness of each association that has gone out.
    lease : float, optional
        Seconds after which a worker that was killed counts as dead.
    """

    def __init__(
        self,
        connection: Connection,
        sources: tuple[str, ...],
        partitions: int,
        publish: Callable[[list[Outgoing], int], None],
        emitted: Callable[[str], None],
        lease: float = 10.0,
    ) -> None:
        self._sources = sources
        self._partitions = partitions
        self._publish = publish
        self._emitted = emitted
        self._lease = lease
        self._reducing = asyncio.Lock()
        self._recovered = self._generation = -1
        self._beaten = time.monotonic()
        self._ticked: dict[int, float] = {}
        self._in_threads: set[asyncio.Future[Any]] = set()
        self.error: BaseException | None = None
        self.waits = ""
        self.app = make_app(connection, partitions, lease)
        self.tables = {name: self._table(name) for name in ASSOCIATOR_TABLES}
        self._members = self._topic(MEMBERS)
        self._desks: Desks | None = None

    def use(self, desks: Callable[[Mapping[str, Any]], Desks]) -> None:
        """Declare the agents; `desks` makes the desks over the tables."""
        self._desks = desks({name: table.data for name, table in self.tables.items()})
        for table in self.tables.values():
            table.on_recover(self._on_recover)
        for name in self._sources:
            self.app.agent(self._topic(name), name=f"forward-{name}")(self._forward)
        self.app.agent(self._members, name="reduce")(self._reduce)

    @property
    def ready(self) -> bool:
        """Tell whether it has taken over what it holds."""
        return self._generation >= 0 and self._generation == self.app.consumer_generation_id

    @property
    def open(self) -> int:
        """Return how many associations it has to say something of that is not said yet."""
        return self._desks.open if self._desks else 0

    async def run(self, stopping: Callable[[], bool], turned: Callable[[], None]) -> None:
        """Work until told to stop, or until it cannot go on.

        Raises
        ------
        Exception
            What it could not go on after.
        """
        await self.app.start()
        self._beaten = time.monotonic()
        look = asyncio.ensure_future(self._look_at_clock())
        try:
            while not stopping():
                self._beat()
                if error := self.error or self.app.crash_reason:
                    raise error
                turned()
                if look.done():  # what it waits for must not keep this loop from going round
                    look.result()
                    look = asyncio.ensure_future(self._look_at_clock())
                await asyncio.sleep(TURN)
        except BaseException:
            with contextlib.suppress(CalstreamError):  # the first error tells why it ends
                await self._stop(look)
            raise
        await self._stop(look)

    async def _stop(self, look: asyncio.Future[None]) -> None:
        look.cancel()
        ending = asyncio.ensure_future(self._end())
        await asyncio.wait({ending}, timeout=STOP_WITHIN)
        if not ending.done():
            ending.cancel()
            raise CalstreamError(f"the associator did not end within {STOP_WITHIN:.0f} s")
        ending.result()

    async def _end(self) -> None:
        await self.app.stop()
        while self._in_threads:
            await asyncio.wait(self._in_threads)

    async def end_waiting(self) -> None:
        """Let every open association go out: nothing more will come."""
        if self._desks is not None and self.ready:
            await self._tick(self._desks.waiting(), end=True)

    async def _look_at_clock(self) -> None:
        """Take over what was assigned; tick where something is due."""
        assert self._desks is not None
        if not self.ready:
            with contextlib.suppress(_SharedOutAnewError):  # then there is something else to take over
                await self._take_over()
        elif not self._reducing.locked():
            await self._tick(self._desks.due(time.time()), end=False)

    async def _on_recover(self) -> None:
        self._recovered = self.app.consumer_generation_id

    async def _take_over(self) -> None:
        """Open what was assigned, when all of it is in the tables."""
        generation = self.app.consumer_generation_id
        if self._recovered == generation and not self.app.rebalancing and not self._reducing.locked():
            async with self._reducing:
                await self._open(generation)

    async def _open(self, generation: int) -> None:
        assert self._desks is not None
        desks = self._desks
        held = {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == MEMBERS}
        for table in self.tables.values():
            for key in [key for key in table.data if desks.partition_of(key) not in held]:
                table.data.pop(key, None)  # Faust keeps it, and its owner may have taken it away meanwhile
        await self._surely(lambda: self._in_thread(desks.reopen, held))
        self._generation = generation
        self._ticked.clear()
        await self._surely(lambda: self._in_thread(self._publish, [], desks.open))

    async def _tick(self, partitions: list[int], *, end: bool) -> None:
        for partition in partitions:
            if time.monotonic() - self._ticked.get(partition, -AGAIN) >= AGAIN:
                self._ticked[partition] = time.monotonic()
                await self._send(
                    Outgoing(topic=MEMBERS, key="", value=b"{}", headers=tick(end=end)), partition
                )

    async def _forward(self, stream: Any) -> None:
        await self._pump(stream, self._sent_on)

    async def _reduce(self, stream: Any) -> None:
        await self._pump(stream, self._reduced)

    async def _pump(self, stream: Any, work: Callable[[list[Message], int], Awaitable[None]]) -> None:
        """Do work on events, as many at once as have come, and acknowledge them when it is done."""
        events: asyncio.Queue[Any] = asyncio.Queue(maxsize=TOGETHER)
        worker = asyncio.ensure_future(self._drain(events, work))
        try:
            async for event in stream.noack().events():
                await events.put(event)
        finally:
            worker.cancel()

    async def _drain(
        self, events: asyncio.Queue[Any], work: Callable[[list[Message], int], Awaitable[None]]
    ) -> None:
        try:
            while True:
                batch = [await events.get()]
                while not events.empty():
                    batch.append(events.get_nowait())
                generation = self.app.consumer_generation_id
                batch = [event for event in batch if event.message.generation_id == generation]
                if not batch:
                    continue
                try:
                    await work([message_of(event) for event in batch], generation)
                except _SharedOutAnewError:
                    continue  # to this worker or another one, they come again
                for event in batch:
                    event.ack()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.error = error

    async def _sent_on(self, messages: list[Message], _generation: int) -> None:
        letters: list[Outgoing] = []
        sent = []
        for message in messages:
            try:
                event = unpack(message)
            except Unprocessable as error:
                letters.append(Desks.letter(message, error))
                continue
            if isinstance(event, PlanEvent | ProductEvent | FailureEvent):
                for address in await self._addresses(event):
                    out = forwarded(message, event, address)
                    sent.append(self._send(out, partition_of(out.key, self._partitions)))
        await asyncio.gather(*sent)
        if letters:
            await self._surely(lambda: self._in_thread(self._publish, letters, self.open))

    async def _addresses(self, event: Event) -> list[str]:
        assert self._desks is not None
        desks = self._desks
        return await self._surely(lambda: self._in_thread(desks.addresses, event))

    async def _send(self, out: Outgoing, partition: int) -> None:
        """Send a message to the reducer, and wait until it is safe."""
        headers = {name: value.encode() for name, value in out.headers.items()}
        sent = await self._members.send(
            key=out.key.encode(), value=out.value, partition=partition, headers=headers
        )
        await sent

    async def _reduced(self, messages: list[Message], generation: int) -> None:
        """Publish and write what follows from messages."""
        assert self._desks is not None
        desks = self._desks
        async with self._reducing:
            self._demand_partitions(generation)
            if generation != self._generation:
                await self._open(generation)
            await self._surely(lambda: self._followed(desks, messages, generation))
            for message in messages:
                self._ticked.pop(message.partition, None)

    async def _followed(self, desks: Desks, messages: list[Message], generation: int) -> None:
        outcome = await self._in_thread(desks.take, messages, time.time())
        try:
            await self._in_thread(self._publish, list(outcome.outputs), desks.open)
        except Retriable:
            desks.reopen()
            raise
        for table, changes in in_order(outcome.changes):
            self._demand_partitions(generation)
            await self._write(self.tables[table], changes, desks)
        for completeness in outcome.completeness:
            self._emitted(completeness)
        if outcome.obsolete:
            await self._in_thread(desks.remove, outcome.obsolete)

    async def _write(self, table: Any, changes: list[Outgoing], desks: Desks) -> None:
        """Change a table, and wait until its changelog says so too."""
        sent = []
        for change in changes:
            key, value = change.key.encode(), change.value or None
            # by the table's own serializer, JSON, None would become a word and nothing be taken away
            sent.append(table.send_changelog(desks.partition_of(key), key, value, "raw", "raw"))
        await asyncio.gather(*sent)
        for change in changes:
            if change.value:
                table.data[change.key.encode()] = change.value
            else:
                table.data.pop(change.key.encode(), None)

    def _demand_partitions(self, generation: int) -> None:
        """Refuse to write of what may be another worker's by now.

        Raises
        ------
        _SharedOutAnewError
            If the group has been shared out anew.
        CalstreamError
            If this process slept for so long that it may have been.
        """
        self._beat()
        if self.error is not None:
            raise self.error
        if generation != self.app.consumer_generation_id:
            raise _SharedOutAnewError

    def _beat(self) -> None:
        """Note that this process is awake; after too long a sleep it cannot go on."""
        slept, self._beaten = time.monotonic() - self._beaten, time.monotonic()
        if slept > 0.8 * self._lease:
            self.error = CalstreamError(f"this process has slept for {slept:.0f} s; {_AGAIN}")

    async def _surely(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Do something that may fail for reasons that pass, until it works."""
        generation = self.app.consumer_generation_id
        while True:
            try:
                done = await attempt()
            except Retriable as error:
                if generation != self.app.consumer_generation_id:
                    raise _SharedOutAnewError from error
                self.waits = str(error)
                log.warning("waiting", reason=self.waits)
                await asyncio.sleep(_PAUSE)
            else:
                self.waits = ""
                return done

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do something in a thread, where it comes to its end though nobody may wait for it any more."""
        running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
        self._in_threads.add(running)
        running.add_done_callback(self._in_threads.discard)
        return await asyncio.shield(running)

    def _topic(self, name: str) -> Any:
        return self.app.topic(
            name,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            partitions=self._partitions,
        )

    def _table(self, name: str) -> Any:
        import faust

        return self.app.Table(
            name,
            partitions=self._partitions,
            schema=faust.Schema(
                key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
            ),
            changelog_topic=self.app.topic(
                changelog(name),
                key_type=bytes,
                value_type=bytes,
                key_serializer="raw",
                value_serializer="raw",
                partitions=self._partitions,
                acks=False,
                compacting=True,
                allow_empty=True,
            ),
        )
