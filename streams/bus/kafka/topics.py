"""Topics as Kafka keeps them, and what may be sent to each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType

from schemas.errors import Retriable, UsageError
from streams.bus.kafka.connection import LARGEST
from streams.bus.kafka.failures import told
from streams.bus.kafka.messages import from_wire, to_wire
from streams.bus.protocol import PARTITIONS, Outgoing, Topic

ROOM: Final = 32 * 1024
"""Bytes of a batch beside one longest value: its key and headers, or other messages of the batch."""


_PLAIN: Final = {"compression.type": "uncompressed"}
"""What somebody's producer compresses, the brokers unpack: else it may be longer than any message, or packed
as only a library unpacks that is not here, which stops every reader of the topic."""

_CREATION: Final = 30.0
"""Seconds after which every broker knows a topic that was created."""

_HEARSAY: Final = 1.0
"""Seconds for which a topic that one broker does not know may be known to another."""


@dataclass(frozen=True)
class Known:
    """A topic that is there.

    Attributes
    ----------
    partitions : int
        How many.
    compacted : bool
        Whether it keeps the last message of each key only.
    max_bytes : int
        The longest value.
    kept : float, optional
        Seconds after which messages may go, of a compacted topic the last ones of their keys too; 0 where
        their number decides. For ever when absent.
    plain : bool
        Whether nothing on it is compressed.
    """

    partitions: int
    compacted: bool
    max_bytes: int
    kept: float | None = None
    plain: bool = True


class TopicBook:
    """What is known of topics; asked for once, as they do not change.

    Parameters
    ----------
    admin : KafkaAdminClient
        Whom to ask.
    partitions : int, optional
        Of every topic; when absent as many as most of those have that are there, for the first 12.
    """

    def __init__(self, admin: Any, partitions: int | None) -> None:
        self._admin = admin
        self._partitions = partitions
        self._known: dict[str, Known] = {}

    def names(self) -> list[str]:
        """Return the names of all topics but Kafka's own."""
        with told("the topics cannot be listed"):
            return sorted(from_wire(n) for n in self._admin.list_topics() if not n.startswith("__"))

    def create(self, topics: Sequence[Topic]) -> None:
        """Create those that are not there, and check those that are.

        Raises
        ------
        UsageError
            If one is there with another number of partitions, or is compacted and must not be, or the other
            way round, or if Kafka would remove what must be kept.
        """
        there = self._look([topic.name for topic in topics])
        self._settle(there.values())
        missing = {to_wire(topic.name): self._wanted(topic) for topic in topics if topic.name not in there}
        if missing:
            with told(f"the topics {', '.join(sorted(missing))} cannot be created"):
                answers = self._admin.create_topics(missing, raise_errors=False)["topics"]
                for answer in answers:
                    kind = errors.for_code(answer["error_code"])
                    if kind not in (errors.NoError, errors.TopicAlreadyExistsError):
                        raise kind(answer["error_message"])
                self._admin.wait_for_topics(list(missing), timeout_ms=30_000)
        found = self._look([topic.name for topic in topics], within=_CREATION)
        for topic in topics:
            if topic.name not in found:
                raise Retriable(f"topic {topic.name} was created, and not all brokers know it yet; try again")
            self._check(topic, found[topic.name])
        self._known |= found

    def mend(self, topics: Sequence[Topic]) -> list[str]:
        """Set what is amiss with topics that are there; return their names.

        What is kept for longer than it must be stays as it is.
        """
        wrong = self._wrong(topics)
        if wrong:
            with told(f"the options of the topics {', '.join(wrong)} cannot be changed"):
                self._admin.alter_configs(
                    [
                        ConfigResource(ConfigResourceType.TOPIC, to_wire(name), options)
                        for name, options in wrong.items()
                    ]
                )
        deadline = time.monotonic() + _CREATION
        while self._wrong([topic for topic in topics if topic.name in wrong]):
            if time.monotonic() > deadline:
                raise Retriable(
                    f"the options of {', '.join(wrong)} were changed, and not all brokers know it yet"
                )
            time.sleep(0.1)
        return list(wrong)

    def _wrong(self, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
        there = self._look([topic.name for topic in topics])
        found = {topic.name: _amiss(topic, there[topic.name]) for topic in topics if topic.name in there}
        return {name: options for name, options in found.items() if options}

    def demand(self, names: Iterable[str]) -> dict[str, Known]:
        """Return what is known of some topics.

        Raises
        ------
        UsageError
            If one is not there.
        """
        wanted = list(dict.fromkeys(names))
        if missing := [name for name in wanted if name not in self._known]:
            self._known |= self._look(missing, within=_HEARSAY)
        for name in wanted:
            if name not in self._known:
                raise UsageError(f"there is no topic {name!r}; create it first")
        return {name: self._known[name] for name in wanted}

    def check(self, outputs: Sequence[Outgoing]) -> dict[str, Known]:
        """Return the topics of messages that are to be sent, if all of them may be.

        Raises
        ------
        UsageError
            If a topic is not there, or a message is too long for it.
        """
        known = self.demand(output.topic for output in outputs)
        for output in outputs:
            bound = known[output.topic].max_bytes
            if len(output.value) > bound:
                raise UsageError(
                    f"a message of {len(output.value)} bytes for {output.topic}, which takes {bound}; "
                    "send the URI of a file instead"
                )
            beside = len(output.key) + sum(len(k) + len(v) + 8 for k, v in output.headers.items())
            if 4 * beside > ROOM:
                raise UsageError(
                    f"a message for {output.topic} with {beside} bytes of key and headers; shorten them"
                )
        return known

    def _settle(self, there: Iterable[Known]) -> None:
        """Keep to the number of partitions that topics have, if none was given."""
        if self._partitions is None:
            numbers = Counter(known.partitions for known in there)
            self._partitions = numbers.most_common(1)[0][0] if numbers else PARTITIONS

    def _wanted(self, topic: Topic) -> dict[str, Any]:
        if topic.max_bytes > LARGEST:
            raise UsageError(
                f"topic {topic.name}: messages of {topic.max_bytes} bytes, {LARGEST} are the most"
            )
        configs = {
            **_keeping(topic),
            **_PLAIN,
            "max.message.bytes": str(topic.max_bytes + ROOM),
            "message.timestamp.type": "CreateTime",
        }
        return {"num_partitions": self._partitions, "replication_factor": -1, "configs": configs}

    def _check(self, topic: Topic, found: Known) -> None:
        if found.partitions != self._partitions:
            raise UsageError(
                f"topic {topic.name} is there already and has {found.partitions} partitions, not "
                f"{self._partitions}, and all need one number; ask for that one, or delete the topic and run "
                "`calstream topics create`"
            )
        if found.compacted != topic.compacted:
            raise UsageError(
                f"topic {topic.name} is there already and is {'' if found.compacted else 'not '}"
                "compacted; give the new one another name"
            )
        if wrong := _amiss(topic, found):
            options = ", ".join(f"{name}={value}" for name, value in wrong.items())
            does = "remove what must be kept" if "retention.ms" in wrong else "keep it compressed"
            raise UsageError(
                f"topic {topic.name} is there already, and Kafka would {does}: it must have {options}; "
                "`calstream topics create` sets that"
            )

    def _look(self, names: Sequence[str], within: float = 0.0) -> dict[str, Known]:
        """Ask for what there is of these topics, again for some seconds if one is missing."""
        deadline = time.monotonic() + within
        found = self._look_once(names)
        while len(found) < len(set(names)) and time.monotonic() < deadline:
            time.sleep(0.1)
            found = self._look_once(names)
        return found

    def _look_once(self, names: Sequence[str]) -> dict[str, Known]:
        wire = [to_wire(name) for name in names]
        with told(f"the topics {', '.join(names)} cannot be looked up"):
            there = {
                topic["name"]: len(topic["partitions"])
                for topic in self._admin.describe_topics(wire)
                if not topic["error_code"]
            }
            if not there:
                return {}
            asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in there]
            told_of = self._admin.describe_configs(asked, config_filter="all")["topic"]
        return {
            from_wire(name): Known(
                partitions=partitions,
                compacted="compact" in told_of[name]["cleanup.policy"]["value"],
                max_bytes=max(0, int(told_of[name]["max.message.bytes"]["value"]) - ROOM),
                plain=told_of[name]["compression.type"]["value"] == "uncompressed",
                kept=_kept({option: said["value"] for option, said in told_of[name].items()}),
            )
            for name, partitions in there.items()
            if told_of.get(name)
        }


def _keeping(topic: Topic) -> dict[str, str]:
    """Return Kafka's options that say how long a topic is kept."""
    kept = -1 if topic.retention is None else max(1, round(topic.retention * 1000))
    return {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "retention.ms": str(kept),
        "retention.bytes": "-1",  # whatever the brokers do with topics that do not say
    }


def _kept(options: Mapping[str, str]) -> float | None:
    """Return the seconds for which a topic with such options is kept, as :class:`Known` says it."""
    if "delete" not in options["cleanup.policy"]:
        return None
    if options["retention.bytes"] != "-1":
        return 0.0
    milliseconds = int(options["retention.ms"])
    return None if milliseconds < 0 else milliseconds / 1000


def _amiss(topic: Topic, found: Known) -> dict[str, str]:
    """Return the options that a topic must have and has not."""
    wanted = None if topic.compacted else topic.retention
    early = found.kept is not None and (wanted is None or found.kept + 1e-3 < wanted)
    wrong = _keeping(topic) if early and found.compacted == topic.compacted else {}
    return wrong if found.plain else wrong | _PLAIN
