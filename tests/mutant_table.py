"""Deliberate faults of the kernels. Data for `mutants`: anchor, replacement, and who should notice first.

An anchor is a piece of one line that stands exactly once in its file. ``bits``: tests that follow the
plain twin or look at the state itself, run by the interpreter. ``laws``: tests that look at numbers of cells
alone, run compiled. A table of names, not of all tests: what they miss, the rest may catch.
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    name: str
    file: str  # under mst_abm/engine
    anchor: str
    replacement: str
    breaks: str
    bits: tuple[str, ...]
    laws: tuple[str, ...]


def on_lattice(*names: str) -> tuple[str, ...]:
    return tuple(f"test_twin.py::test_lattice[{name}]" for name in names)


def by_tiles(*names: str) -> tuple[str, ...]:
    return tuple(f"test_tiles.py::test_twin[{name}]" for name in names)


def in_mixture(*names: str) -> tuple[str, ...]:
    return tuple(f"test_twin.py::test_mixed[{name}]" for name in names)


def counting(*names: str) -> tuple[str, ...]:
    return tuple(f"test_twin.py::test_counters[{name}]" for name in names)


def chain(*names: str) -> tuple[str, ...]:
    return tuple(f"test_exact.py::test_fixed_model[{name}]" for name in names)


IDENTITY = ("test_twin.py::test_lattice_with_identity",)
EVERYTHING = ("test_twin.py::test_everything_at_once[True]",)
SIGNALS = tuple(f"test_twin.py::test_signals[{name}]" for name in ("hill", "inverse"))
LOSSES = ("test_determinism.py::test_nothing_is_lost",)
ROOM = ("test_determinism.py::test_room_at_the_start_does_not_matter[1]",)
DRAWN = ("test_exact.py::test_drawn_models",)
LANDING = ("test_independent.py::test_cells_land_on_allowed_sites_only_and_on_each_as_often",)
SHARES = ("test_independent.py::test_a_hand_over_between_shares_keeps_the_mean",)
WAITING = ("test_twin.py::test_two_kinds_wait_for_a_place",)
SITES = ("test_lattice.py::test_first_cells_have_sites_of_their_own",)
LANDING_BY_TILES = ("test_tiles.py::test_cells_land_on_every_site",)
ACCURATE = ("test_accuracy.py",)
FILED = ("test_reservoirs.py::test_the_file_accounts_for_every_cell",)
LARGE = ("test_reservoirs.py::test_large_numbers_grow_as_they_should",)
FIELDS = ("test_lattice.py::test_fields_of_static_cells[no-flux]",)
FOLLOWING = tuple(
    f"test_fields.py::test_twin[{name}]" for name in ("cube-run_options0", "flat-run_options0")
)
FOLLOWING_BY_TILES = tuple(
    f"test_fields.py::test_twin[{name}]" for name in ("cube-run_options1", "flat-run_options1")
)
DRIFT = ("test_fields.py::test_drift_of_biased_walkers[8-0.8]",)
FED = ("test_fields.py::test_deaths_follow_the_field[tiled]",)
COUNTED = ("test_fields.py::test_cells_are_counted_by_block[exact]",)
READ = ("test_fields.py::test_cells_read_the_mean_of_their_block",)

FAULTS = (
    # what happens, and how often
    Fault("channels mirrored", "lattice.py", "verb = tab.channels[ch].verb",
          "ch = tab.rows[row].channel_first + tab.rows[row].pair_start - 1 - ch if ch < "
          "tab.rows[row].pair_start else ch; verb = tab.channels[ch].verb",
          "births happen at the rate of deaths", on_lattice("attempt"), chain("prey and killers")),
    Fault("waiting time", "lattice.py", "now = t + waiting[j] / total",
          "now = t + waiting[j] / (total + 0.3)", "a total of rates too high by 0.3",
          on_lattice("attempt"), chain("prey and killers")),
    Fault("class by another's width", "lattice.py", "i = int(x * classes[c].inverse)",
          "i = int(x * classes[0].inverse)", "cells of slow classes are not equally likely",
          on_lattice("fast and slow"), ("test_exact.py",)),
    Fault("class weight", "lattice.py", "w = (bounds[c + 1] - bounds[c]) * classes[c].top",
          "w = (bounds[c + 1] - bounds[c]) * classes[0].top", "slow classes weigh as the fastest",
          on_lattice("fast and slow"), ("test_exact.py",)),
    Fault("bound of a class", "signals.py",
          "if single + paired > rates.classes[compartment, c].top:", "if True:",
          "thinning by the last species of a class, not by its fastest",
          on_lattice("contact"), ("test_exact.py",)),
    Fault("newcomer not heeded", "signals.py", "body.present[r, compartment, s] = True", "continue",
          "a faster species that appears is no faster than its class was", EVERYTHING, ("test_exact.py",)),
    Fault("bound of a pair", "signals.py", "top = max(top, total)", "top = total",
          "thinning by the last partner, not by the likeliest", in_mixture("mass action"), ("test_exact.py",)),
    Fault("pair not normalised", "lattice.py",
          "TWO_M32 * rates.pair_top[tab.channels[ch].pair_table]", "TWO_M32",
          "outcomes of a contact against 1, not against their bound",
          on_lattice("contact"), chain("mutual")),
    Fault("acceptance not normalised", "lattice.py", "u /= p", "u /= 1.0",
          "among vacant sites the first are preferred when a modifier acted",
          counting("inherit"), chain("vacant, Moore")),
    Fault("word used twice", "lattice.py",
          "_, u, _ = rng.detail(",
          "u, _, _ = rng.detail(",
          "a contact is accepted by another word than agreed",
          on_lattice("paracrine"), ("test_exact.py",)),
    Fault("word used twice, mixed", "mixed.py", "if v >= mean_acceptance(", "if u >= mean_acceptance(",
          "the same in a mixed compartment", in_mixture("sites"), ("test_exact.py",)),
    Fault("first counter", "lattice.py", "x = (np.int64(counters) >> target)",
          "x = (np.int64(counters) >> 0)", "a modifier reads the first counter, whichever is meant",
          counting("inherit"), chain("second counter")),
    # where
    Fault("biased direction", "rng.py", "direction[i] = np.int64(words[3 * BLOCK + i])",
          "direction[i] = np.int64(words[3 * BLOCK + i]) * 15 >> 4", "the last direction is too rare",
          on_lattice("attempt"), ("test_lattice.py",)),
    Fault("lost hop", "changes.py", "tile.species[b] = tile.species[a]", "tile.species[b] = 0",
          "a cell that hops is gone", on_lattice("attempt"), chain("prey and killers")),
    Fault("beyond a wall", "grid.py", "return x - n if is_periodic else -1",
          "return x - n if is_periodic else n - 1", "what steps over the far wall is set before it",
          on_lattice("near"), chain("walls")),
    Fault("ring cut", "grid.py", "return x + n if is_periodic else -1", "return -1",
          "no way over the near edge of a ring", on_lattice("attempt"), chain("swap")),
    Fault("vacancies miscounted", "changes.py", "wanted = min(int(u * free), free - 1)",
          "wanted = min(int(u * n), free - 1)", "the last vacant neighbour is preferred",
          on_lattice("vacant"), chain("vacant, Moore")),
    Fault("radius", "lattice.py", "else geo.ball_count[ball_row, reach]",
          "else geo.ball_count[ball_row, reach - 1]", "paracrine partners from a smaller ball",
          on_lattice("paracrine"), chain("paracrine")),
    Fault("radius of a modifier", "lattice.py", "geo.ball_count[ball_row, tab.modifiers[m].reach],",
          "geo.ball_count[ball_row, 1],", "near looks at range 1 always", on_lattice("near"), chain("near, range 2")),
    Fault("neighbours counted short", "grid.py", "for i in range(n):", "for i in range(n - 1):",
          "near misses its last site", on_lattice("near"), chain("near")),
    Fault("push to the first", "changes.py", "start = min(int(u * vacant), vacant - 1)", "start = 0",
          "of equally near vacancies the first is taken", on_lattice("push"), ("test_exact.py",)),
    Fault("axes in order", "changes.py", "pick = min(int(scaled), n - i - 1)", "pick = 0",
          "a pushed chain goes along x first", on_lattice("push"), ("test_exact.py",)),
    Fault("landing anywhere", "lattice.py", "            if first == last:",
          "            if True:", "cells land on forbidden sites", EVERYTHING, LANDING),
    Fault("contacts with a wall", "place.py", "values[other] += 1", "values[other] = 1",
          "a site beside two static cells counts one", FIELDS, FIELDS),
    # what becomes of cells
    Fault("chain loses a cell", "changes.py", "for q in range(stop, 0, -1):", "for q in range(stop, 1, -1):",
          "the pushed neighbour is overwritten", on_lattice("push"), chain("push")),
    Fault("position not noted", "changes.py", "tile.where[a - tile.first] = q", "pass",
          "the place in the list of a cell swapped away is stale", on_lattice("swap"), LOSSES),
    Fault("list made without positions", "place.py", "tile.where[local] = place", "pass",
          "every first cell's place in the list is wrong", on_lattice("attempt"), LOSSES),
    Fault("segment bound", "lists.py", "for q in range(n_classes - 1, c, -1):",
          "for q in range(n_classes - 1, c + 1, -1):", "a class does not make room for the one before",
          on_lattice("fast and slow"), LOSSES),
    Fault("count forgotten", "changes.py", "tile.counts[new] += 1", "pass",
          "cells that come are not counted", LOSSES, chain("prey and killers")),
    Fault("tally forgotten", "lattice.py", "tally[tab.entries[e].tally] += 1", "pass",
          "contacts are not booked", on_lattice("contact"), LOSSES),
    Fault("counter left behind", "changes.py", "tile.counters[b] = tile.counters[a]", "pass",
          "a cell that hops keeps the counters of the site", counting("inherit"), ("test_exact.py",)),
    Fault("swap without counters", "changes.py", "tile.counters[a], tile.counters[b] = d, c",
          "tile.counters[a], tile.counters[b] = c, d", "counters stay when cells change places",
          EVERYTHING, ("test_exact.py",)),
    Fault("halves", "cells.py", "value = (value + 1) >> 1", "value = value >> 1",
          "an odd count loses one at division", counting("halve"), chain("halving")),
    Fault("twins", "cells.py", "rng.COUNTING + 4 * product + i - first,", "rng.COUNTING + i - first,",
          "both daughters draw the same counters", counting("resample"), ("test_exact.py",)),
    Fault("below zero", "cells.py", "value = min(max(value, 0), tab.operations[i].maximum)",
          "value = min(value, tab.operations[i].maximum) & tab.operations[i].maximum",
          "a counter of 0 less 1 is its maximum", counting("minus_one"), ("test_exact.py",)),
    Fault("parent", "cells.py", "identity[mother].id,", "identity[mother].parent,",
          "the grandmother is noted as mother", IDENTITY, ("test_records.py",)),
    Fault("one vacancy for two", "place.py", "vacant[pick] = vacant[n_vacant]", "pass",
          "first cells are put onto each other",
          SITES, chain("prey and killers")),
    # mixed compartments
    Fault("meets itself", "mixed.py", "if partner >= slot:", "if partner > slot:",
          "a cell may be its own partner", in_mixture("sites"), chain("mixed, sites")),
    Fault("density", "mixed.py", "max(cells_in(tab, mix, r, q) - 1, 0)", "max(cells_in(tab, mix, r, q), 0)",
          "mass action with n where n - 1 is right", in_mixture("mass action"), chain("mass action")),
    Fault("drawn with replacement", "mixed.py", "occupied *= (others - i) / (sites - i)",
          "occupied *= others / sites", "a site may be looked at twice",
          counting("inherit"), chain("mixed, vacant")),
    Fault("sees itself", "mixed.py", "np.float64(matching - tab.pattern_mask[target, species])",
          "np.float64(matching)", "near counts the cell itself", in_mixture("sites"), chain("mixed, vacant")),
    Fault("record without counters", "mixed.py", "mix.counters[r, target] = mix.counters[r, source]", "pass",
          "a cell moved in its list gets another's counters", counting("inherit"), ("test_exact.py",)),
    Fault("death not counted", "mixed.py", "body.counts[r, compartment, species] -= 1", "pass",
          "cells that go are still counted", LOSSES, chain("mixed, sites")),
    Fault("full too early", "mixed.py", "cells_in(tab, mix, r, q) + batch > geo.spaces[m].capacity",
          "cells_in(tab, mix, r, q) + batch >= geo.spaces[m].capacity",
          "the last site is not filled from outside", in_mixture("nearly full"), chain("sources")),
    # exchange
    Fault("landing not thinned", "lattice.py", "if x - i * top >= rates.rows[row].arrive:", "if False:",
          "every waiting cell lands at the greatest rate", WAITING, chain("two kinds land")),
    Fault("copies not rounded", "lattice.py", "if a < tab.channels[ch].copies - copies:", "if False:",
          "part of a cell is lost at every hand-over", EVERYTHING, SHARES),
    Fault("hand-over turns the clock back", "mixed.py", "t = due", "t = begin",
          "after a cell came in, the interval begins again", EVERYTHING, DRAWN),
    Fault("waiting cell lost", "lattice.py",
          "pool.cells[r, k, i].species = pool.cells[r, k, end].species", "pass",
          "the last of the pool is lost, the landed one still waits", WAITING, chain("two kinds land")),
    Fault("identity of those who wait", "state.py",
          "shaped[:, :, :depth] = old.identity.reshape(n_bodies, n_patches, depth)", "pass",
          "an enlarged pool forgets who waits in it", ROOM, ROOM),
    Fault("candidate used again", "lattice.py", "turn[0].candidate = progress[r].candidate",
          "turn[0].candidate = 0", "after enlarging, old draws are used again", ROOM, ROOM),
    # tiles
    Fault("hop lost at an edge", "changes.py", "hand_over(tab, geo, grid, border, tile, scratch, b, tick)",
          "pass", "a cell that hops over an edge is in no list", by_tiles("near", "swap"), ACCURATE),
    Fault("landing judged elsewhere", "lattice.py", "there, first, last, site - there.first, counters)",
          "there, first, last, 0, counters)", "whether a cell may land is asked at the corner of the tile",
          LANDING_BY_TILES, LANDING_BY_TILES),
    Fault("clock of a neighbour", "border.py", "0 if is_later and not is_settling else LAST",
          "LAST if is_later and not is_settling else 0", "who has lived and who has not are mixed up",
          by_tiles("push"), ACCURATE),
    Fault("tick cut off", "border.py", "* scratch.turn[0].ticks + 0.5)", "* scratch.turn[0].ticks)",
          "the clock of a cell that crosses is cut, not rounded", by_tiles("near", "swap"), ACCURATE),
    Fault("no clocks", "border.py", "0 if is_idle or tick == scratch.clock[d] else stamp_of(tick)", "0",
          "a cell that crosses an edge takes the neighbour's time", by_tiles("near", "swap"), ACCURATE),
    Fault("joins early", "lattice.py", "return min(end, time_of(scratch.turn, scratch.queue[0] >> 16))",
          "return min(end, time_of(scratch.turn, (scratch.queue[0] >> 16) - 9))",
          "waiting cells join a while before their time", by_tiles("near", "swap"), ACCURATE),
    Fault("late cells forgotten", "tiles.py", "for place in range(late[c], late[c + 1]):",
          "for place in range(late[c], late[c + 1] - 1):", "one that caught up leaves the list",
          by_tiles("near", "swap"), ACCURATE),
    Fault("post for another", "border.py", "border.heads[sender, OPPOSITE - d]", "border.heads[sender, d]",
          "a tile reads what was meant for its neighbour's other side", by_tiles("near", "swap"), ACCURATE),
    Fault("draws of a tile", "tiles.py", "turn[0].candidate = border.drawn[tile.unit]", "turn[0].candidate = 0",
          "every window draws the same numbers", by_tiles("near", "swap"), ACCURATE),
    # passing from class to class, and who is left in a window
    Fault("class passed over", "lists.py", "for q in range(before, after):",
          "for q in range(before + 1, after):", "a cell that becomes slower skips its own segment",
          EVERYTHING, DRAWN),
    Fault("class passed over, faster", "lists.py", "for q in range(before, after, -1):",
          "for q in range(before - 1, after, -1):", "a cell that becomes faster skips its own segment",
          EVERYTHING, DRAWN),
    Fault("class passed over, mixed", "mixed.py", "for p in range(before, after):",
          "for p in range(before + 1, after):", "the same in a mixed compartment", EVERYTHING, DRAWN),
    Fault("nobody is left", "tiles.py", "                is_left = True", "                is_left = False",
          "a window ends though cells are late", by_tiles("near", "swap", "push"), ACCURATE),
    Fault("one way only", "border.py", "!= turn[0].is_backward", "!= False",
          "clocks of neighbours are those of the other direction", by_tiles("near", "swap", "push"), ACCURATE),
    # fields
    Fault("bias turned round", "fields.py", "return u < 0.5 * (1.0 - bias)", "return u < 0.5 * (1.0 + bias)",
          "cells walk down the gradient", FOLLOWING, DRIFT),
    Fault("bias of a diagonal", "fields.py", "bias /= math.sqrt(np.float64(dx * dx + dy * dy + dz * dz))", "pass",
          "a diagonal step is biased by its length", FOLLOWING, DRIFT),
    Fault("block within the tile", "fields.py", "(tile.x + x) // side + nx *", "x // side + nx *",
          "every tile reads the blocks of the first column", FOLLOWING_BY_TILES, FED),
    Fault("another patch's field", "fields.py", "blocks = tile.patch * nx * ny * nz + block", "blocks = block",
          "all patches read the field of the first", FOLLOWING, ("test_fields.py",)),
    Fault("sources in the first column", "fields.py", "income[p, row + x // side] +=", "income[p, row] +=",
          "what cells make appears at the edge of the lattice", COUNTED, COUNTED),
    Fault("bound forgotten", "fields.py", "law(tab, reads.term, levels[block]) / reads.bound",
          "law(tab, reads.term, levels[block])", "a factor is not divided by its bound", READ, READ),
    Fault("wall of a field", "fields.py", "if low >= 0 else levels[here]", "if low >= 0 else 0.0",
          "beyond a wall there is nothing, and cells flee it", READ, ("test_fields.py",)),
    # signals
    Fault("left edge", "signals.py", "body.node_signals[r, n, tab.terms[term].signal]",
          "body.node_signals[r, 0, tab.terms[term].signal]", "a level is read at the start of the interval",
          SIGNALS, ("test_population.py",)),
    Fault("quadrature", "signals.py", "total += NODE_WEIGHT[n] * value", "total += 0.25 * value",
          "all nodes weigh the same", SIGNALS, ("test_population.py",)),
    Fault("Runge-Kutta", "signals.py", "k3 = slope(s + 0.5 * d * k2,", "k3 = slope(s + 0.5 * d * k1,",
          "the second half step starts from the first slope", SIGNALS, ("test_population.py",)),
    Fault("yield", "signals.py", "income += counted(tab, body, r, i)", "income += 0.9 * counted(tab, body, r, i)",
          "cells make a tenth less of a signal", SIGNALS, ("test_population.py",)),
    Fault("level not carried on", "advance.py", "body.signals[r, g] = body.node_signals[r, NODES, g]",
          "body.signals[r, g] = body.node_signals[r, 0, g]", "an interval ends with its first node",
          SIGNALS, ("test_population.py",)),
    # reservoirs
    Fault("counted twice", "handover.py", "held.numbers[r, s] = 0", "held.numbers[r, s] += 0",
          "a reservoir keeps what it hands back", FILED, FILED),
    Fault("taken and left", "handover.py", "tile.counts[species] -= 1", "tile.counts[species] -= 0",
          "cells that a reservoir took stay in the counts", FILED, FILED),
    Fault("back at once", "handover.py", "if expected > reservoir.above and has_room:",
          "if expected > reservoir.below and has_room:", "a class is handed back at the lower threshold", FILED, FILED),
    Fault("products live too long", "branching.py", "exponential(-total * h / 2)", "exponential(-total * h)",
          "cells live through the whole of the step in which they came about", LARGE, LARGE),
)  # fmt: skip
