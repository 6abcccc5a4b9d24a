"""The table of README.md, made from the reports in results/ and from nothing else.

python bench/table.py            # write it
python bench/table.py --check    # fail where README.md says something else
"""

import sys
from pathlib import Path

from measuring import RESULTS, Report, Row, asked_for, shown, spread

README = Path(__file__).parent / "README.md"
START, END = "<!-- table: made by table.py -->", "<!-- end of table -->"
PROFILE_START, PROFILE_END = "<!-- profile: made by table.py -->", "<!-- end of profile -->"

ORDER = (
    "step",
    "variants",
    "limit",
    "data_path",
    "time_to_quality",
    "score_rate",
    "overhead",
    "scale",
    "scale_100k",
)
"""The reports in the order of the table."""


def table(reports: list[Report]) -> str:
    """The rows of reports as Markdown, with a legend of the machines."""
    machines: list[str] = []
    lines = [
        "| what | ours | baseline | figure | asked | machine | command |",
        "|---|---|---|---|---|---|---|",
    ]
    for report in reports:
        described = machine(report)
        if described not in machines:
            machines.append(described)
        letter = chr(ord("A") + machines.index(described))
        lines += [line(row, letter, report.command) for row in report.rows]
    legend = [f"Machine {chr(ord('A') + at)}: {described}" for at, described in enumerate(machines)]
    return "\n".join([*lines, "", *legend])


def line(row: Row, machine_letter: str, command: str) -> str:
    """A row of the table."""
    baseline = f"{spread(row.baseline, row.unit)}: {row.against}" if row.baseline else row.against or "–"
    figure = f"**{shown(row.value)}**" + ("" if row.figure == "ours" else f" = {row.figure}")
    asked = asked_for(row)
    verdict = f"{asked}: {'yes' if row.met else '**no**'}" if asked else "–"
    cells = [row.claim, spread(row.ours, row.unit), baseline, figure, verdict, machine_letter, f"`{command}`"]
    return "| " + " | ".join(cells).replace("L*a*b*", r"L\*a\*b\*") + " |"


def machine(report: Report) -> str:
    """A machine in words."""
    known = report.machine
    return (
        f"{known['cpu']}, {known['cores']} cores, {known['memory_gb']} GB; "
        f"Python {known['python']}, torch {known['torch']}."
    )


def reports(folder: Path = RESULTS) -> list[Report]:
    """The reports that there are, in the table's order."""
    return [Report.read(folder / f"{name}.json") for name in ORDER if (folder / f"{name}.json").exists()]


def profile_table(report: Report) -> str:
    """Where the time of each kind of step goes, in percent, and what there is to compute, as Markdown."""
    steps = report.details["steps"]
    names = list(steps)
    kinds = sorted({kind for step in steps.values() for kind in step["profile"]} - {"other"})
    kinds.sort(key=lambda kind: -steps[names[0]]["profile"].get(kind, 0))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for kind in [*kinds, "other"]:
        shares = [f"{100 * steps[name]['profile'].get(kind, 0):.0f} %" for name in names]
        lines.append("| " + " | ".join([kind, *shares]) + " |")
    computed = [shown(1e3 * steps[name]["teraflop"]) for name in names]
    taken = [shown(report.details["median_seconds"][name]) for name in names]
    lines.append("| GFLOP a step | " + " | ".join(computed) + " |")
    lines.append("| seconds a step | " + " | ".join(taken) + " |")
    return "\n".join(lines)


def replaced(text: str, start: str, end: str, made: str) -> str:
    """A text with something else between two marks."""
    before, rest = text.split(start)
    return f"{before}{start}\n{made}\n{end}{rest.split(end)[1]}"


def with_tables(text: str, found: list[Report]) -> str:
    """A README's text with the tables of these reports in the place of its own."""
    text = replaced(text, START, END, table(found))
    profiled = [report for report in found if "steps" in report.details]
    made = profile_table(profiled[0]) if profiled else ""
    return replaced(text, PROFILE_START, PROFILE_END, made)


def main() -> int:
    """Write the table, or compare it."""
    text = README.read_text("utf-8")
    wanted = with_tables(text, reports())
    if "--check" in sys.argv[1:]:
        if text != wanted:
            print("bench/README.md is not what bench/results says: run `python bench/table.py`")
        return int(text != wanted)
    README.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
