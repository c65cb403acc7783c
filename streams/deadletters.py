"""Dead letters: what a service could not process, its bytes as they were, with headers that say why.

They lie on topics ``<topic>.<service>.dlq``, in the manner of Kafka Connect. A letter is pending until it is
retried or dropped; that stands on a compacted topic, so that nothing but the bus has to be asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.canonical import digest
from schemas.errors import Unprocessable, UsageError
from schemas.events import Event, parse_event
from streams import marks
from streams.bus import Bus, Message, Outgoing, Topic
from streams.store import Store
from streams.times import iso
from streams.topics import DEAD_LETTER_BYTES, SETTLED, dead_letters, is_dead_letters

RETRIED: Final = "retried"
DROPPED: Final = "dropped"

_PREFIX: Final = "dlq."
_SENTENCE: Final = 1000
_KEY: Final = 1000
_HEADERS: Final = 4000
_MARGIN: Final = 8
"""What a header takes beside its name and its text, as a bus counts it."""
_TOGETHER: Final = 500


def dead_letter(message: Message, service: str, error: str, sentence: str, attempts: int) -> Outgoing:
    """Return the dead letter of a message, to be published with the offset of what it was.

    Parameters
    ----------
    message : Message
        As consumed.
    service : str
        Who could not process it.
    error, sentence : str
        Class of the error, and what, where, and what to do; of the sentence the first 1000 characters are
        kept, on one line. Of a key that nobody of ours has made the first 1000 too, and of headers those that
        have room in 4000. Bytes that no topic takes, as a compressed message can hold them, are cut off, and
        the header ``dlq.size`` says how many there were.
    attempts : int
        How often it was tried.
    """
    said = {
        "topic": message.topic,
        "partition": str(message.partition),
        "offset": str(message.offset),
        "service": service,
        "error": error,
        "message": _on_one_line(sentence),
        "attempts": str(attempts),
        "time": iso(time.time()),
    }
    if len(message.value) > DEAD_LETTER_BYTES:
        said["size"] = str(len(message.value))
    return Outgoing(
        topic=dead_letters(message.topic, service),
        key=message.key[:_KEY],
        value=message.value[:DEAD_LETTER_BYTES],
        headers={**_fitting(_original(message)), **{_PREFIX + name: text for name, text in said.items()}},
    )


def dead_letter_topics(service: str, topics: Iterable[str]) -> list[Topic]:
    """Return the topics for what a service cannot process of the topics that it reads."""
    return [Topic(name=dead_letters(topic, service), max_bytes=DEAD_LETTER_BYTES) for topic in topics]


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A dead letter.

    Attributes
    ----------
    message : Message
        As it lies on its topic.
    settled : str
        ``retried``, ``dropped``, or empty while it is pending.
    """

    message: Message
    settled: str = ""

    @property
    def place(self) -> str:
        """Return ``topic/partition/offset``, which is its own for ever."""
        return f"{self.message.topic}/{self.message.partition}/{self.message.offset}"

    @property
    def id(self) -> str:
        """Return a short id."""
        return digest(self.place)[:8]

    @property
    def event(self) -> Event | None:
        """Return the event, or None where the bytes are none."""
        try:
            return parse_event(self.message.value)
        except Unprocessable:
            return None

    @property
    def topic(self) -> str:
        """Return the topic that it was on."""
        return self.said("topic") or self.message.topic.rsplit(".", 2)[0]

    def said(self, what: str) -> str:
        """Return one of the headers ``dlq.*``, or an empty string."""
        return self.message.headers.get(_PREFIX + what, "")

    def original(self) -> Outgoing:
        """Return the message as it was published first."""
        return Outgoing(
            topic=self.topic,
            key=self.message.key,
            value=self.message.value,
            headers=_original(self.message),
        )


def letters(bus: Bus, *, settled: bool = False) -> Iterator[Letter]:
    """Yield dead letters, topic by topic in the order in which they came.

    Parameters
    ----------
    bus : Bus
        All of whose topics of dead letters are read.
    settled : bool, optional
        Whether those that were retried or dropped are wanted too.
    """
    done = _settled(bus)
    for topic in bus.topics():
        if is_dead_letters(topic):
            for message in bus.read(topic):
                letter = Letter(message=message)
                state = done.get(letter.place, "")
                if settled or not state:
                    yield Letter(message=message, settled=state)


def chosen(
    every: Iterable[Letter], *, topic: str | None = None, where: Callable[[Event], bool] | None = None
) -> list[Letter]:
    """Return the letters of a topic (the one that they were on, or that of the letters) that satisfy `where`.

    Bytes that are no event satisfy nothing.
    """
    return [
        letter
        for letter in every
        if topic in (None, letter.topic, letter.message.topic)
        and (where is None or ((event := letter.event) is not None and where(event)))
    ]


def with_id(every: Iterable[Letter], wanted: str) -> Letter:
    """Return the letter with an id, or with one that begins so.

    Raises
    ------
    UsageError
        If there is none, or there are several.
    """
    found = [letter for letter in every if wanted and letter.id.startswith(wanted.lower())]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} dead letters have ids that begin with" if found else "there is no dead letter"
    raise UsageError(f"{what} {wanted!r}; `calstream dlq list --all` shows their ids")


def retry(some: Sequence[Letter], bus: Bus, store: Store) -> tuple[list[Letter], list[Letter]]:
    """Publish letters on the topics that they were on, their attempts forgotten.

    The message and the mark that its letter is settled are published together: however this ends, a letter is
    pending, or has been retried once.

    Returns
    -------
    retried, left : list of Letter
        Those that are no event, or whose topic is gone, are left.
    """
    there = set(bus.topics())
    good = [letter for letter in some if letter.topic in there and letter.event is not None]
    for start in range(0, len(good), _TOGETHER):
        batch = good[start : start + _TOGETHER]
        for letter in batch:
            if (event := letter.event) is not None:
                marks.forget(store, event.id)
        bus.publish([out for letter in batch for out in (letter.original(), _mark(letter, RETRIED))])
    return good, [letter for letter in some if letter not in good]


def drop(some: Sequence[Letter], bus: Bus) -> None:
    """Mark letters as dropped; their bytes stay on their topic as long as it keeps them."""
    for start in range(0, len(some), _TOGETHER):
        bus.publish([_mark(letter, DROPPED) for letter in some[start : start + _TOGETHER]])


def _mark(letter: Letter, state: str) -> Outgoing:
    return Outgoing(topic=SETTLED, key=letter.place, value=f"{state} {iso(time.time())}".encode())


def _settled(bus: Bus) -> dict[str, str]:
    if SETTLED not in bus.topics():
        return {}
    return {m.key: m.value.decode("utf-8", "replace").partition(" ")[0] for m in bus.read(SETTLED)}


def _original(message: Message) -> dict[str, str]:
    return {name: text for name, text in message.headers.items() if not name.startswith(_PREFIX)}


def _fitting(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those headers, in their order, that have room."""
    found: dict[str, str] = {}
    room = _HEADERS
    for name, text in headers.items():
        size = len(name) + len(text) + _MARGIN
        if size <= room:
            found[name] = text
            room -= size
    return found


def _on_one_line(sentence: str) -> str:
    plain = " ".join(sentence.split()).encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else "?" for character in plain)[:_SENTENCE]
