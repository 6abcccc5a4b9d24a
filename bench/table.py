"""The table of README.md, made from the reports in results/ and from nothing else.

python bench/table.py            # write it
python bench/table.py --check    # fail where README.md says something else
"""

import sys
from pathlib import Path

from measuring import RESULTS, Report, Row, asked_for, shown, spread

README = Path(__file__).parent / "README.md"
START, END = "<!-- table: made by table.py -->", "<!-- end of table -->"

ORDER = (
    "step",
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


def with_table(text: str, made: str) -> str:
    """A README's text with this table in the place of its own."""
    before, rest = text.split(START)
    return f"{before}{START}\n{made}\n{END}{rest.split(END)[1]}"


def main() -> int:
    """Write the table, or compare it."""
    text = README.read_text("utf-8")
    wanted = with_table(text, table(reports()))
    if "--check" in sys.argv[1:]:
        if text != wanted:
            print("bench/README.md is not what bench/results says: run `python bench/table.py`")
        return int(text != wanted)
    README.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
