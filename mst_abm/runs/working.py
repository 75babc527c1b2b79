"""Calls given to a pool, a bounded number at a time: what is done, what failed, whose worker died, what is worked at elsewhere."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from typing import Any

from mst_abm.runs.keeping import Signals
from mst_abm.runs.pools import Pool, WorkerLost
from mst_abm.runs.shards import BUSY, run_shard

#: Workers that may die over one call before it is given up.
ATTEMPTS = 2
#: Seconds between looks at signals, and before a call that another process is at is tried again.
LOOK, AGAIN = 0.2, 2.0


@dataclass(frozen=True)
class Call:
    """Arguments of a call, how many workers died over it, and when it may be tried."""

    arguments: tuple[Any, ...]
    attempts: int = 0
    not_before: float = 0.0


def worked(
    pool: Pool,
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    signals: Signals | None = None,
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Arguments and result of every call, in the order in which they end.

    A call whose worker died is given to another; `WorkerLost` is its result where that one died too. Other
    exceptions of a call are raised.

    Raises
    ------
    KeyboardInterrupt
        After a signal that asks for the end, once all workers have left their checkpoints.
    """
    waiting = deque(Call(arguments) for arguments in calls)
    flying: dict[Future, Call] = {}
    while waiting or flying:
        while len(flying) < pool.width and (call := _next(waiting)) is not None:
            flying[pool.submit(function, *call.arguments)] = call
        if not flying:
            time.sleep(LOOK)
        _obey(signals, pool, flying)
        for future in wait(flying, LOOK, FIRST_COMPLETED).done:
            call = flying.pop(future)
            error = future.exception()
            if isinstance(error, WorkerLost):
                if call.attempts + 1 < ATTEMPTS:
                    waiting.append(replace(call, attempts=call.attempts + 1))
                else:
                    yield call.arguments, error
            elif error is not None:
                raise error
            elif future.result() == BUSY:
                waiting.append(replace(call, not_before=time.monotonic() + AGAIN))
            else:
                yield call.arguments, future.result()


def _next(waiting: deque[Call]) -> Call | None:
    """The next call that may be tried now."""
    now = time.monotonic()
    for _ in range(len(waiting)):
        call = waiting.popleft()
        if call.not_before <= now:
            return call
        waiting.append(call)
    return None


def _obey(signals: Signals | None, pool: Pool, flying: dict[Future, Call]) -> None:
    """Pass on what a signal asked for; the end comes when all workers have put down their work."""
    if signals is None or not signals.keeps:
        return
    signals.keeps = False
    if not signals.stops:
        pool.pass_on(signal.SIGUSR1)
        return
    pool.pass_on(signal.SIGTERM)
    wait(flying)
    raise KeyboardInterrupt


def at_work(folder: str, number: int) -> str:
    """`run_shard` in a worker, which listens to the signals its parent passes on."""
    with Signals() as signals:
        return run_shard(folder, number, signals=signals)
