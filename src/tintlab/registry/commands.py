"""`tintlab judge`, `register`, `promote` and the other commands about versions: arguments and output."""

from pathlib import Path
from typing import Annotated

import typer

from tintlab.system import console, paths, suggestions
from tintlab.system.options import ScoringModel

app = typer.Typer()


@app.command(
    epilog="Examples: `tintlab judge` · `tintlab judge models:/tintlab/4 --against models:/tintlab/2`"
)
def judge(
    challenger: Annotated[
        str,
        typer.Argument(
            help="An alias, `models:/tintlab/3`, or the folder of a model.",
            autocompletion=suggestions.complete_model,
        ),
    ] = "challenger",
    against: Annotated[
        str | None, typer.Option(help="The model to compare with; by default the champion.")
    ] = None,
) -> None:
    """Judge a model against the champion on the test photographs. Status 0 for any verdict."""
    from tintlab.registry import judging
    from tintlab.reports import verdict as verdict_page

    outcome = judging.judge(challenger, against)
    console.print_table(verdict_page.verdict_table(outcome.record))
    for line in filter(None, [*outcome.record["reasons"], verdict_page.sensitivity(outcome.record)]):
        console.say(line)
    kept = (
        f"; kept with version {outcome.record['version']}" if outcome.stored else "; not kept in the registry"
    )
    console.say(f"{verdict_page.verdict_line(outcome.record)} (page: {outcome.page}{kept})")


@app.command(epilog="Examples: `tintlab register` · `tintlab register --model ~/downloads/generator`")
def register(
    model: Annotated[
        str, typer.Option(help="A folder; `models:/tintlab/3` or an alias to register that one again.")
    ] = str(paths.GENERATOR),
) -> None:
    """Register the model as a version in MLflow; it becomes the challenger."""
    from tintlab.registry import register

    done = register.register(model)
    verb = "is new" if done.new else "was registered before; nothing is made twice"
    console.say(f"version {done.version} {verb} (run {done.run_id}); it is the challenger")


@app.command(epilog="Examples: `tintlab export onnx` · `tintlab export onnx --check`")
def export(
    folder: Annotated[Path, typer.Argument(help="A new or an empty folder.")],
    model: ScoringModel = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only check the digest of its network and run that once.")
    ] = False,
) -> None:
    """Write a model as ONNX, with a JSON of its pre- and postprocessing: see docs/export.md."""
    if check:
        from tintlab.inference.exported import ExportedModel

        ExportedModel(folder).try_out()
        console.say(f"{folder}: whole, and it runs")
        return
    from tintlab.inference.export import export
    from tintlab.registry.models import default_spec, locate

    located = locate(model or default_spec())
    export(located.folder, folder)
    console.say(f"exported {located.name} to {folder}")


@app.command(
    epilog="Examples: `tintlab promote` · `tintlab promote 3 --force --why 'the archive likes it better'`"
)
def promote(
    version: Annotated[int | None, typer.Argument(min=1, help="By default the challenger.")] = None,
    why: Annotated[str, typer.Option(help="Reason, recorded in the history.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Without a verdict; needs --why.")] = False,
    if_passed: Annotated[
        bool,
        typer.Option("--if-passed", help="Else withdraw it as challenger, with status 0."),
    ] = False,
) -> None:
    """Make a version champion. It needs a passing verdict for exactly this version."""
    from tintlab.registry import promotion

    if if_passed and not force:
        console.say(promotion.promote_if_passed(version, why))
    else:
        console.say(promotion.promote(version, why, force))


@app.command()
def adopt() -> None:
    """Make `base`, the model that ships with tintlab, a version and champion, where there is no champion yet."""
    from tintlab.registry import standing

    console.say(standing.adopt_base())


@app.command()
def champion() -> None:
    """Say which version is champion and why, and why the newest version is not."""
    from tintlab.registry import standing

    console.say(standing.describe_champion())


@app.command(
    epilog="Example: `tintlab rollback --why 'red skies'`; a second call goes one champion further back."
)
def rollback(why: Annotated[str, typer.Option(help="Reason, recorded in the history.")] = "") -> None:
    """Bring back the champion before the present one."""
    from tintlab.registry import promotion

    console.say(promotion.rollback(why))


@app.command()
def models() -> None:
    """List the registered versions, their verdicts, and which one is champion."""
    from tintlab.registry import listing

    console.say(listing.list_models())


@app.command()
def history() -> None:
    """List the champions with their times and reasons."""
    from tintlab.registry import listing

    console.say(listing.list_history())
