#!/usr/bin/env python3
"""Reads what `bench/peers/run` measured and prints the table and the ratios.

Input: FOLDER/{engine,peer}-ROUND.json, each the output of `streams-bench --json relay-load`.
A figure is min / median / max over the rounds; a ratio is taken round by round, of runs that stood next to each other.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

RELAYS = ("engine", "peer")
# Key of a step, heading, digits. Percent are of one core.
COLUMNS = (
    ("relay_cpu_percent", "relay CPU %", 1),
    ("relay_cpu_s_a_gbit", "s a Gbit", 3),
    ("viewers_a_core", "viewers a core", 0),
    ("p50_ms", "p50 ms", 2),
    ("p99_ms", "p99 ms", 2),
    ("objects_missing", "missing", 0),
    ("load_cpu_percent", "load CPU %", 0),
    ("steal_percent_of_a_core", "steal %", 1),
)
# Above this much of a core taken by the hypervisor, a run says nothing.
STEAL_MAX = 5.0


def spread(values, digits):
    parts = (min(values), statistics.median(values), max(values))
    return " / ".join(f"{part:.{digits}f}" for part in parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--compare", type=int, default=0, help="viewers; 0 is the most that all runs sustained")
    parser.add_argument("--versions", default="")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    runs = {
        relay: [json.loads((args.folder / f"{relay}-{n}.json").read_text()) for n in range(1, args.rounds + 1)]
        for relay in RELAYS
    }
    steps = {relay: [{step["viewers"]: step for step in run["result"]["steps"]} for run in runs[relay]] for relay in RELAYS}
    counts = sorted({viewers for relay in RELAYS for run in steps[relay] for viewers in run})
    first = runs["engine"][0]
    machine, result = first["machine"], first["result"]
    print(f"{machine['cpu']}, Linux {machine['kernel']}, {first['profile']} build; {args.versions}")
    print(
        f"{result['bitrate'] / 1e6:g} Mbit/s a viewer, {result['fps']} objects/s of {result['object_bytes']} bytes; "
        f"{args.rounds} rounds, alternating; min / median / max\n"
    )
    rows = [["viewers", "relay", "runs", *(heading for _, heading, _ in COLUMNS)]]
    for viewers in counts:
        for relay in RELAYS:
            there = [run[viewers] for run in steps[relay] if viewers in run]
            if there:
                kept = sum(step["sustained"] for step in there)
                cells = [spread([step[key] for step in there], digits) for key, _, digits in COLUMNS]
                rows.append([str(viewers), relay, f"{kept}/{len(there)} held", *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())

    held = {relay: [run["result"]["sustained_viewers"] for run in runs[relay]] for relay in RELAYS}
    limits = {
        relay: [next((step["load_is_the_limit"] for step in run.values() if not step["sustained"]), None) for run in steps[relay]]
        for relay in RELAYS
    }
    print()
    for relay in RELAYS:
        ends = ["all steps held" if end is None else "load generator full" if end else "relay" for end in limits[relay]]
        print(f"{relay}: held {spread(held[relay], 0)} viewers; the end came from: {', '.join(ends)}")

    common = min(min(held[relay]) for relay in RELAYS)
    compared = args.compare or common
    outcome = {"versions": args.versions, "runs": runs, "sustained": held, "compared_viewers": compared}
    pairs = [(a[compared], b[compared]) for a, b in zip(steps["engine"], steps["peer"]) if compared in a and compared in b]
    if not pairs:
        print("no number of viewers that every run held: no ratio")
    else:
        ratios = [a["viewers_a_core"] / b["viewers_a_core"] for a, b in pairs]
        tails = [a["p99_ms"] / b["p99_ms"] for a, b in pairs]
        outcome |= {"viewers_a_core_ratio": ratios, "p99_ratio": tails}
        print(f"at {compared} viewers, engine / peer: viewers a core {spread(ratios, 2)}; p99 {spread(tails, 2)}")
    stolen = max(step["steal_percent_of_a_core"] for relay in RELAYS for run in steps[relay] for step in run.values())
    if stolen > STEAL_MAX:
        print(f"NOISY: the hypervisor took up to {stolen:.1f} % of a core in one step; repeat on a quiet machine")
    if args.json:
        args.json.write_text(json.dumps(outcome, indent=1) + "\n")
    return 0 if pairs else 1


if __name__ == "__main__":
    sys.exit(main())
