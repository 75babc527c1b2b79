"""Calls given to a pool, a bounded number at a time: what is done, whose worker died, what is worked at elsewhere."""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mst_abm.errors import MstAbmError
from mst_abm.runs.campaign import Campaign
from mst_abm.runs.failures import Failed, note_failed, read_failed, sentence_of
from mst_abm.runs.keeping import Signals
from mst_abm.runs.pools import Pool, WorkerLost
from mst_abm.runs.shards import (
    BUSY,
    DONE,
    FAILED,
    run_shard,
    state_of,
    try_again,
    work_of,
)
from mst_abm.scenario import load_scenario_text

if TYPE_CHECKING:
    from mst_abm.scenario.definition import Scenario

#: Workers that may die over one call before it is given up.
ATTEMPTS = 2
#: Seconds between looks at signals, and before a call that another process is at is tried again.
LOOK, AGAIN = 0.2, 2.0
#: A worker that was told to stop, and left a checkpoint.
STOPPED = "stopped"


@dataclass(frozen=True)
class Call:
    """Arguments of a call, how many workers died over it, and when it may be tried."""

    arguments: tuple[Any, ...]
    attempts: int = 0
    not_before: float = 0.0


def run_missing(
    campaign: Campaign,
    pool: Pool,
    *,
    numbers: Sequence[int] | None = None,
    again: bool = False,
    signals: Signals | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Run what is missing of a campaign, or of those shards of it that have these numbers.

    Parameters
    ----------
    again : try replicates once more that have failed before
    signals : listened to: the end with checkpoints, or checkpoints alone
    progress : called with replicates that are settled, and all of them

    Raises
    ------
    KeyboardInterrupt
        After a signal that asks for the end.
    RecordError
        If the folder or the disc does not allow to go on.
    """
    campaign.refuse_other_version()
    shards = campaign.shards
    wanted = [shards[number] for number in (range(len(shards)) if numbers is None else numbers)]
    for shard in wanted:
        try_again(work_of(campaign, shard), only_lost=not again)
    missing = [s for s in wanted if state_of(work_of(campaign, s)) not in (DONE, FAILED)]
    total = sum(shard.replicates for shard in wanted)
    done = total - sum(shard.replicates for shard in missing)
    progress(done, total)
    if len(missing) > 1 and campaign.engine == "cells":
        warm(pool, campaign.scenario(missing[0].point), signals)
    # a worker may have another folder to begin with
    calls = [(str(campaign.folder.absolute()), shard.number) for shard in missing]
    for (_, number), result in worked(pool, shard_at_work, calls, signals):
        if isinstance(result, WorkerLost):
            _note_lost(campaign, number, result)
        done += shards[number].replicates
        progress(done, total)


def warm(pool: Pool, scenario: Scenario, signals: Signals | None = None) -> None:
    """Have the kernels compiled by one worker before several need them, once for every build and mode."""
    from mst_abm.engine.kernel import cache_directory

    mark = cache_directory() / f"warm-{scenario.run.mode}"
    if pool.width < 2 or mark.exists():
        return
    text = (scenario.resolved_text, scenario.name)
    for _, result in worked(pool, first_interval, [text], signals):
        if result == DONE:
            mark.touch()


def first_interval(text: str, name: str) -> str:
    """Run a scenario for one exchange interval and throw it away."""
    from mst_abm.runs.simulation import Simulation

    try:
        simulation = Simulation(load_scenario_text(text, name=name))
        simulation.advance(float(simulation.edges_h[1]))
    except MstAbmError:
        return FAILED  # to be told by the run that is recorded
    return DONE


def _note_lost(campaign: Campaign, number: int, error: WorkerLost) -> None:
    """A shard over which workers died is given up for now."""
    work = work_of(campaign, campaign.shards[number])
    known = read_failed(work.failure).replicates
    text = f"{sentence_of(error)}, {ATTEMPTS} times"
    note_failed(work.failure, Failed({**dict.fromkeys(work.numbers, text), **known}, is_lost=True))


def shard_at_work(folder: str, number: int) -> str:
    """`run_shard` in a worker, which listens to the signals its parent passes on."""
    with Signals() as signals:
        try:
            return run_shard(folder, number, signals=signals, notice=_tell)
        except KeyboardInterrupt:
            return STOPPED


def _tell(text: str) -> None:
    """Into the log of a task, or onto the screen."""
    print(text, file=sys.stderr, flush=True)


def worked(
    pool: Pool,
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    signals: Signals | None = None,
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Arguments and result of every call, in the order in which they end.

    A call whose worker died is given to another; `WorkerLost` is its result where that one died too. A
    call that returns ``BUSY`` or ``STOPPED`` is tried again later. Other exceptions of a call are raised,
    once all workers have stopped.

    Raises
    ------
    KeyboardInterrupt
        After a signal that asks for the end, once all workers have left their checkpoints.
    """
    waiting = deque(Call(arguments) for arguments in calls)
    flying: dict[Future, Call] = {}
    try:
        while waiting or flying:
            while len(flying) < pool.width and (call := _next(waiting)) is not None:
                flying[pool.submit(function, *call.arguments)] = call
            if not flying:
                time.sleep(LOOK)
            _obey(signals, pool)
            for future in wait(flying, LOOK, FIRST_COMPLETED).done:
                call = flying.pop(future)
                if (later := _later(call, future)) is not None:
                    waiting.append(later)
                else:
                    yield call.arguments, future.exception() or future.result()
    finally:
        if flying:
            pool.pass_on(signal.SIGTERM)
            wait(flying)


def _later(call: Call, future: Future) -> Call | None:
    """The call to be tried again, if it is; an exception that is nobody's death is raised."""
    error = future.exception()
    if isinstance(error, WorkerLost):
        attempts = call.attempts + 1
        return replace(call, attempts=attempts) if attempts < ATTEMPTS else None
    if error is not None:
        raise error
    if future.result() in (BUSY, STOPPED):
        return replace(call, not_before=time.monotonic() + AGAIN)
    return None


def _next(waiting: deque[Call]) -> Call | None:
    """The next call that may be tried now."""
    now = time.monotonic()
    for _ in range(len(waiting)):
        call = waiting.popleft()
        if call.not_before <= now:
            return call
        waiting.append(call)
    return None


def _obey(signals: Signals | None, pool: Pool) -> None:
    """Pass on what a signal asked for."""
    if signals is None or not signals.keeps:
        return
    signals.keeps = False
    if signals.stops:
        raise KeyboardInterrupt
    pool.pass_on(signal.SIGUSR1)
