"""A small scenario that uses every section and verb of the grammar."""

from __future__ import annotations

EVERYTHING = """
types:
  blast:
    axes: {phase: [g0, s]}
    counters: {hits: {max: 2, initial: [2, 1, 1], on_division: zero}, n: {max: 3, initial: uniform}}
  t: {axes: {status: [rest, eff]}}
  sinusoid: {static: true}
sets: {targets: [leukaemia, "t[status=eff]"], leukaemia: [blast]}
switches: {ifng: on, spare: {default: off}}
signals:
  csf:
    unit: pg/mL
    production: 2 /h
    clearance: 1 /h
    yields: [{of: "marrow.t[status=rest]", rate: 3 ng/mL/h, relative_to: 1e9 cells}]
    cleared_by: [{of: blood.blast, rate: 24 /day, relative_to: 4e9 /L}]
    saturable_clearance: {max: 1 /h, half: 3 pg/mL}
    source: assumption
  plasma: {concentration_of: cytarabine, source: a paper}
  ctp:
    metabolite: {made_from: cytarabine, loading: {saturates_at: 8.1 umol/L}, half_life: 3.5 h}
    source: a paper
fields:
  scent:
    unit: ng/mL
    in: marrow
    block: 5
    diffusion: 100 um^2/s
    decay: 2 /h
    yields: [{of: leukaemia, rate: 3 ng/mL/h, relative_to: 1e5 /mm^3, switch: ifng}]
    source: assumption
drugs:
  cytarabine:
    molar_mass: 243.2 g/mol
    clearance: 134 L/h/m^2
    half_lives: [10 min, 2.2 h]
    fractions: [0.3, 0.7]
    source: a paper
rules:
  - {name: dies, die: leukaemia, rate: 12 /day, source: assumption, in: marrow}
  - {name: pushes, divide: blast -> blast + blast, place: {push: 4}, rate: 1e-3 /h, source: p}
  - name: hits
    contact: t + blast
    outcomes:
      - {probability: 0.8, actor: {status: eff}, partner: empty}
      - {probability: 0.1, partner: {hits: +1}}
    rate: 1 /h
    class: calibrated
    source: p
    modifiers:
      - {signal: csf, shape: {hill: {half: 1 ng/mL}}}
      - {near: "t[status=eff]", within: 4, shape: {inverse_hill: {half: 2}}, switch: ifng}
  - {name: walks, move: t, swap_with: [blast], rate: 1 /h, source: p, switch: spare}
  - {name: follows, move: t, in: marrow, rate: 1 /h, source: p, biased_by: {field: scent, strength: 0.5, half: 0.1 ng/mL/um}}
  - {name: fades, die: t, in: marrow, rate: 1 /h, source: p, modifiers: [{field: scent, shape: {step: {at: 30 pg/mL}}}]}
  - {name: leaves, leave: t -> marrow, in: blood, rate: 1 /h, source: p}
  - {name: sheds, leave: blast, emit: {to: "blood.t[status=eff]", yield: 30}, rate: 1 /h, source: p}
  - {name: settles, arrive: t, in: marrow, at: {next_to: sinusoid}, rate: 6 /h, source: p}
  - {name: drips, arrive: "t[status=rest]", in: blood, from: outside, batch: 3, rate: 1 /h, source: p}
compartments:
  marrow:
    lattice: {shape: [10, 10, 10], boundary: [periodic, periodic, no-flux]}
    patches: 2
    stands_for: 1 mm^3
  blood: {mixed: {}, stands_for: 5 L, share: marrow}
reservoirs:
  rare: {cells: "t[status=rest]", in: marrow, below: 2, above: 8, on: [empty, blast], at: {next_to: sinusoid}, switch: spare, source: p}
initial:
  marrow:
    - {cells: sinusoid, place: {tubes: {spacing: 40 um, radius: 8 um}}}
    - {mix: {"blast[phase=g0]": 2, "blast[phase=s]": 1}, fraction: 0.1, counters: {hits: uniform}}
    - {cells: "t[status=rest]", density: 8e4 /mm^3, fraction_of: rest_hvg}
  blood: {"blast[phase=g0]": 60}
patient_defaults: {age: 30 y, weight: 1 kg}
patient: {height: 180 cm, weight: 80 kg, hla: [A*02:01, A*24:02], disease: {cycling: 0.4}}
donor: {relation: child, hla: [A*02:01], cd3_per_kg: 1e8}
immunology: {alloreactive_full_mismatch: 0.1, minor_antigen_share: 1e-5, source: p}
grafts:
  donor: [{per: cd3_per_kg, share: 0.5, into: blood, cells: "t[status=rest]", fraction_of: gvh}]
protocol:
  - {at: 2 d, infuse: donor}
  - {at: 1 d, give: cytarabine, dose: 100 mg/m^2, over: 1 h, every: 1 d, times: 2}
  - {at: 5 h, set: {"blood.t[status=rest]": 7}}
run: {until: 4 d, seed: 7, exchange: 30 min, record: {counts: 2 h, snapshots: 1 d}, identity: on}
"""
