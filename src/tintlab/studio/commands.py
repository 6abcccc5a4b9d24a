"""`tintlab studio`: the command; heavy imports happen inside of it."""

from typing import Annotated

import typer


def studio(
    port: Annotated[
        int | None, typer.Option(help="Port; 8400, or the next free one. 0 is any free one.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others reach needs TINTLAB_STUDIO_TOKEN.")
    ] = "127.0.0.1",
    name: Annotated[list[str] | None, typer.Option(help="Another name that the server is called by.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A folder, `models:/tintlab/3` or an alias; the champion where there is one."),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve the studio: a page to colour, compare, steer and hint photographs, and plain HTTP, until Ctrl-C."""
    from tintlab.studio.server import serve

    serve(port, host, model, tuple(name or ()), open_page)
