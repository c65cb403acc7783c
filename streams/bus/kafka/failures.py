"""What a failure of the client or the broker means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from kafka import errors

from schemas.errors import CalstreamError, Retriable, UsageError


class Fenced(CalstreamError):  # noqa: N818  what happened, not what is wrong
    """Another process goes by the name of this one: this one has to end, and may be started again."""


FENCED: Final = (
    errors.ProducerFencedError,
    errors.InvalidProducerEpochError,
    errors.FencedInstanceIdError,
)
LOST: Final = (
    errors.CommitFailedError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.RebalanceInProgressError,
)
"""The group has gone on without this member."""

_REFUSED: Final = (
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
    errors.InvalidRecordError,
    errors.InvalidTimestampError,
    errors.InvalidTopicError,
    errors.UnknownTopicOrPartitionError,
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.SaslAuthenticationFailedError,
    errors.KafkaConfigurationError,
)
"""Trying again gives the same."""


def is_any(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    """Return whether `error`, or what it was made of, is of one of these kinds.

    Asked to go on after the first error of a transaction, the client wraps it in a plain one.
    """
    inner = [one for one in (*error.args, error.__cause__) if isinstance(one, BaseException)]
    return isinstance(error, kinds) or any(is_any(one, kinds) for one in inner)


def passes(error: errors.KafkaError) -> bool:
    """Return whether trying again may help, as where a broker has come back that the client does not know."""
    return error.retriable or isinstance(error, errors.UnknownBrokerIdError)


def failure(error: Exception, doing: str) -> CalstreamError:
    """Return what an error of the client amounts to, as a sentence.

    Parameters
    ----------
    error : Exception
        What was raised.
    doing : str
        What went wrong, as ``the group ramp could not be read``.
    """
    reason = " ".join(str(error).split()) or type(error).__name__
    if is_any(error, FENCED):
        return Fenced(f"{doing}: another process has the name of this one by now ({reason}); end this one")
    if is_any(error, _REFUSED):
        return UsageError(f"{doing}: Kafka refuses it ({reason})")
    return Retriable(f"{doing} ({reason}); check the Kafka brokers and try again")


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Turn errors of the client in the block into sentences.

    Raises
    ------
    UsageError
        If Kafka refuses what was asked.
    Fenced
        If another process has the name of this one.
    Retriable
        Else.
    """
    try:
        yield
    except errors.KafkaError as error:
        raise failure(error, doing) from error
