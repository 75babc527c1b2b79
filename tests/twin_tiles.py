"""The twin of tiles that take turns: windows, clocks of cells that cross an edge, posts.

Ticks are whole numbers here, not bytes, and neighbours are looked up by coordinates. A cell's list
follows from where it stands: acting, listed (of the tile but idle while others catch up), or waiting.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import replace

from plain_random import ARRIVING, logarithm
from twin_lattice import LatticeTwin
from twin_tables import Classes, Patch, Tile

LAST = 254
TRIES_PER_WINDOW = 0.25
STEPS = [(d % 3 - 1, d // 3 % 3 - 1, d // 9 - 1) for d in range(27)]
FACES_FIRST = sorted(range(27), key=lambda d: sum(map(abs, STEPS[d])))


class TileTwin(LatticeTwin):
    """Patches of many tiles; one tile works at a time, ``self.tile``, none in exact mode."""

    tile: Tile | None = None

    # places

    def shifted(self, m: int, site: int, step: list[int] | tuple[int, ...]) -> int | None:
        if len(self.layout(m)) == 1:
            return super().shifted(m, site, step)
        space = self.spaces[m]
        there = []
        for axis, here, d in zip("xyz", self.coordinates(m, site), step, strict=True):
            n, is_ring = getattr(space, f"n{axis}"), getattr(space, f"periodic_{axis}")
            if not 0 <= here + d < n and not is_ring:
                return None
            there.append((here + d) % n)
        for box in self.layout(m):
            x, y, z = there[0] - box.x, there[1] - box.y, there[2] - box.z
            if 0 <= x < box.nx and 0 <= y < box.ny and 0 <= z < box.nz:
                return box.first + x + box.nx * (y + box.ny * z)
        raise AssertionError("a place in no tile")

    def layout(self, m: int) -> list:
        space = self.spaces[m]
        return self.tile_records[space.tile_first :][
            : space.tiles_x * space.tiles_y * space.tiles_z
        ]

    def coordinates(self, m: int, site: int) -> tuple[int, int, int]:
        box = next(b for b in self.layout(m) if b.first <= site < b.last)
        local = site - box.first
        return (
            box.x + local % box.nx,
            box.y + local // box.nx % box.ny,
            box.z + local // (box.nx * box.ny),
        )

    def beside(self, m: int, tile: Tile, d: int) -> int | None:
        """The neighbour of a tile in a direction, None if there is none or it is the same."""
        space, place = self.spaces[m], []
        counts = space.tiles_x, space.tiles_y, space.tiles_z
        rings = space.periodic_x, space.periodic_y, space.periodic_z
        here = (
            tile.place % counts[0],
            tile.place // counts[0] % counts[1],
            tile.place // (counts[0] * counts[1]),
        )
        for i, step, n, is_ring in zip(here, STEPS[d], counts, rings, strict=True):
            if step and (n == 1 or (not 0 <= i + step < n and not is_ring)):
                return None
            place.append((i + step) % n)
        return place[0] + counts[0] * (place[1] + counts[1] * place[2])

    def is_own(self, site: int) -> bool:
        return self.tile is None or self.tile.box.first <= site < self.tile.box.last

    # clocks

    def tick_of(self, time: float) -> int:
        return math.floor((time - self.begin) * self.ticks + 0.5)

    def time_of(self, tick: int) -> float:
        return self.begin + tick / self.ticks

    def own_tick(self, patch: Patch, site: int) -> int:
        """Up to when the cell on a site has lived."""
        if self.is_own(site):
            if any(site in s for s in patch.classes.segments):
                return self.tick_of(self.time)
            return self.stamps.get(site, LAST)
        return self.stamps.get(site, self.clock[self.direction_of(patch, site)])

    def direction_of(self, patch: Patch, site: int) -> int:
        for d in FACES_FIRST:
            i = self.neighbour[d]
            if i is not None and patch.tiles[i].box.first <= site < patch.tiles[i].box.last:
                return d
        raise AssertionError("beyond the neighbours")

    def expect(self, site: int) -> None:
        tick = self.stamps[site]
        if self.tick_of(self.time) < tick < LAST:
            heapq.heappush(self.queue, (tick, site))

    def next_stop(self, end: float) -> float:
        if self.tile is None or not self.queue:
            return end
        return min(end, self.time_of(self.queue[0][0]))

    def let_join(self, patch: Patch) -> None:
        tick = self.queue[0][0]
        while self.queue and self.queue[0][0] == tick:
            _, site = heapq.heappop(self.queue)
            if self.stamps.get(site) == tick:
                drop(self.tile.waiting, site)
                del self.stamps[site]
                patch.classes.add(self.class_at(patch, site), site)

    # changes

    def relist(self, patch: Patch, site: int, before: int, after: int, *, was_vacant: bool) -> None:
        if self.tile is None:
            super().relist(patch, site, before, after, was_vacant=was_vacant)
        elif not self.is_own(site):
            if was_vacant or before < 0:
                self.hand_over(patch, site, self.tick_of(self.time))
                return
            if after < 0:
                self.stamps.pop(site, None)
            self.post(patch, site)
        elif before >= 0 and site in self.tile.waiting:
            if after < 0:
                self.unlist(patch, site, before)
        else:
            rests = before >= 0 and not any(site in s for s in patch.classes.segments)
            classes = self.tile.listed if rests else patch.classes
            if before >= 0:
                classes.remove(before, site)
            if after >= 0:
                classes.add(after, site)

    def unlist(self, patch: Patch, site: int, c: int) -> None:
        if site in self.tile.waiting:
            drop(self.tile.waiting, site)
            del self.stamps[site]
        elif any(site in s for s in patch.classes.segments):
            patch.classes.remove(c, site)
        else:
            self.tile.listed.remove(c, site)

    def exchange(self, patch: Patch, a: int, b: int) -> None:
        if self.tile is None:
            super().exchange(patch, a, b)
            return
        if self.is_own(a) and self.is_own(b):
            self.follow(patch, a, b)
            return
        classes = {s: self.class_at(patch, s) for s in (a, b)}
        if classes[b] >= 0:  # a swap with a cell beyond: the actor's a is here
            tick = self.own_tick(patch, b)
        elif classes[a] >= 0:
            tick = self.own_tick(patch, a)
        is_swap = b in patch.cells
        if self.is_own(a) and classes[a] >= 0:
            self.unlist(patch, a, classes[a])
        first, second = patch.cells.pop(a), patch.cells.pop(b, None)
        patch.cells[b] = first
        if second:
            patch.cells[a] = second
        if is_swap:
            self.hand_over(patch, b, self.tick_of(self.time))
            if classes[b] >= 0:
                self.let_wait(a, tick)
            return
        if classes[a] < 0:
            return
        if not self.is_own(a):
            self.hand_over(patch, a, tick)
        if self.is_own(b):
            self.let_wait(b, tick)
        else:
            self.hand_over(patch, b, tick)

    def follow(self, patch: Patch, a: int, b: int) -> None:
        """Within the tile list entries and stamps follow their cells."""
        first, second = patch.cells.pop(a, None), patch.cells.pop(b, None)
        if first:
            patch.cells[b] = first
        if second:
            patch.cells[a] = second
        other = {a: b, b: a}
        lists = [self.tile.waiting, *patch.classes.segments]
        if patch.classes is not self.tile.listed:
            lists += self.tile.listed.segments
        for segment in lists:
            segment[:] = [other.get(site, site) for site in segment]
        ticks = {other[s]: self.stamps.pop(s) for s in (a, b) if s in self.stamps}
        self.stamps.update(ticks)
        for site in ticks:
            self.expect(site)

    def let_wait(self, site: int, tick: int) -> None:
        self.tile.waiting.append(site)
        self.stamps[site] = tick
        self.expect(site)

    def hand_over(self, patch: Patch, site: int, tick: int) -> None:
        d = self.direction_of(patch, site)
        self.stamps.pop(site, None)
        if self.class_at(patch, site) >= 0 and tick != self.clock[d]:
            self.stamps[site] = tick
        self.post(patch, site)

    def post(self, patch: Patch, site: int) -> None:
        self.tile.posts.setdefault(self.direction_of(patch, site), []).append(site)

    def mend(self, patch: Patch, tile: Tile, site: int) -> None:
        """List a site as its content demands."""
        if site in tile.waiting:
            drop(tile.waiting, site)
        for c, segment in enumerate(tile.listed.segments):
            if site in segment:
                tile.listed.remove(c, site)
                break
        c = self.class_at(patch, site)
        if c < 0:
            self.stamps.pop(site, None)
        elif site in self.stamps:
            tile.waiting.append(site)
        else:
            tile.listed.add(c, site)

    # turns

    def run_patch(self, patch: Patch, begin: float, end: float) -> None:
        if len(patch.tiles) == 1:
            super().run_patch(patch, begin, end)
            return
        m = patch.compartment
        rows = [n for n in self.single if n // self.n_species == m]
        tries = max((self.single[n] + self.paired[n] for n in rows), default=0.0)
        longest = self.longest or (TRIES_PER_WINDOW / tries if tries > 0.0 else math.inf)
        n = max(1, math.ceil((end - begin) / longest * (1 - 1e-12)))
        width = (end - begin) / n
        self.ticks = LAST / width
        self.stamps: dict[int, int] = {}
        for tile in patch.tiles:
            tile.drawn, tile.posts = 0, {}
        order = sorted(patch.tiles, key=lambda t: t.box.colour)
        landings = 0
        for w in range(n):
            self.begin, self.end = begin + w * width, begin + (w + 1) * width
            landings = self.land_waiting(patch, landings)
            self.is_backward = (self.window + w) % 2 == 1
            turns = order[::-1] if self.is_backward else order
            for tile in turns:
                self.take_turn(patch, tile)
            is_left = True
            while is_left:
                # whether something is left is judged after each tile's turn, not at the end
                is_left = False
                for tile in turns:
                    self.settle(patch, tile)
                    is_left = is_left or any(tile.posts.values()) or bool(tile.waiting)
        self.tile = None
        patch.outbox.sort(key=lambda sent: sent.time)

    def begin_turn(self, patch: Patch, tile: Tile, *, is_settling: bool) -> None:
        """Look at the neighbours and mend the list."""
        self.tile = tile
        self.neighbour = [self.beside(patch.compartment, tile, d) for d in range(27)]
        self.neighbour[13] = None
        self.clock = [
            0
            if i is not None and not is_settling and self.is_to_come(patch.tiles[i], tile)
            else LAST
            for i in self.neighbour
        ]
        tile.posts = {}
        for d, i in enumerate(self.neighbour):
            if i is not None:
                for site in reversed(patch.tiles[i].posts.get(26 - d, [])):
                    if tile.box.first <= site < tile.box.last:
                        self.mend(patch, tile, site)

    def is_to_come(self, other: Tile, tile: Tile) -> bool:
        """Whether a neighbour takes its turn after the tile."""
        first, second = tile.box.colour, other.box.colour
        return first > second if self.is_backward else first < second

    def working(self, patch: Patch, classes: Classes) -> Patch:
        """The patch as the tile at work sees it."""
        return replace(patch, number=self.tile.number, classes=classes, pool=[])

    def fill_queue(self) -> None:
        keys = [(self.stamps[s], s) for s in self.tile.waiting]
        self.queue = sorted(key for key in keys if key[0] < LAST)

    def end_waiting(self, patch: Patch) -> None:
        waiting = self.tile.waiting
        for i in reversed(range(len(waiting))):
            site = waiting[i]
            if self.stamps[site] == LAST:
                waiting[i] = waiting[-1]
                waiting.pop()
                del self.stamps[site]
                self.tile.listed.add(self.class_at(patch, site), site)

    def take_turn(self, patch: Patch, tile: Tile) -> None:
        """A tile lives through the window."""
        self.begin_turn(patch, tile, is_settling=False)
        self.time = self.begin
        self.fill_queue()
        tile.drawn = self.live(self.working(patch, tile.listed), self.end, tile.drawn)
        self.end_waiting(patch)

    def settle(self, patch: Patch, tile: Tile) -> None:
        """Cells that are late live up to the end of the window, alone."""
        self.begin_turn(patch, tile, is_settling=True)
        self.fill_queue()
        if self.queue:
            late = Classes([[] for _ in range(self.n_classes)])
            self.time = self.time_of(self.queue[0][0])
            tile.drawn = self.live(self.working(patch, late), self.end, tile.drawn)
            for c, segment in enumerate(late.segments):
                for site in segment:
                    tile.listed.add(c, site)
        self.end_waiting(patch)

    def land_waiting(self, patch: Patch, number: int) -> int:
        """Cells of the pool land in the window; returns the next number of a draw."""
        mine = range(patch.compartment * self.n_species, (patch.compartment + 1) * self.n_species)
        top = max(0.0, *(self.arrive_rate[n] for n in mine))
        t = self.begin
        while patch.pool and top > 0.0:
            a, b, c = self.detail(patch.number, number, ARRIVING)
            number += 1
            t -= logarithm(1.0 - a) / (len(patch.pool) * top)
            if not t < self.end:
                break
            self.attempts += 1
            i, goal = self.find_landing(patch, b * len(patch.pool) * top, top, c, number - 1)
            if goal is None:
                continue
            cell = self.leave_pool(patch, i)
            patch.cells[goal] = replace(cell)
            tick = self.tick_of(t)
            self.stamps.pop(goal, None)
            if tick != 0:
                self.stamps[goal] = tick
            tile = next(s for s in patch.tiles if s.box.first <= goal < s.box.last)
            self.mend(patch, tile, goal)
            self.executed += 1
        return number


def drop(waiting: list[int], site: int) -> None:
    """Take one out: the one that came last takes its place."""
    i = waiting.index(site)
    waiting[i] = waiting[-1]
    waiting.pop()
