"""Answers of a child wait until the disk has what they tell of, while the next task computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue

from schemas.errors import Retriable
from streams.dispatch import sentence_of
from streams.service.messages import Answer, Failed
from streams.store import Store


class Settler:
    """Says answers in a thread, one after the other, each when the files behind it are durable.

    Whatever is computed has been put by then: should the process end before the answer is said, the run is
    found finished.

    Parameters
    ----------
    store : Store
        Where the files are.
    say : callable
        Sends an answer to the parent.
    """

    def __init__(self, store: Store, say: Callable[[Answer], None]) -> None:
        self._store = store
        self._say = say
        self._queue: SimpleQueue[tuple[Answer, tuple[str, ...]]] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def take(self, answer: Answer, paths: Iterable[str]) -> None:
        """Say an answer when files that were put are settled; one that cannot be makes it a failure."""
        self._queue.put((answer, tuple(paths)))

    def _run(self) -> None:
        while True:
            answer, paths = self._queue.get()
            try:
                self._say(self._settled(answer, paths))
            except OSError:  # the parent has let go of the pipe, and the child ends
                return

    def _settled(self, answer: Answer, paths: Iterable[str]) -> Answer:
        try:
            for path in paths:
                self._store.settle(path)
        except Retriable as error:
            return Failed(
                number=answer.number,
                memory=answer.memory,
                kind="retriable",
                error=type(error).__name__,
                sentence=sentence_of(error),
            )
        return answer
