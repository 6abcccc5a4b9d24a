"""Options that several commands have, as typer takes them."""

from typing import Annotated

import typer

from tintlab.system import suggestions

ScoringModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="`base`, an alias, `models:/tintlab/3` or a folder; else the champion of this project, else `base`.",
        autocompletion=suggestions.complete_model,
    ),
]
WorkingSize = Annotated[
    int | None, typer.Option(min=32, help="Size of the network's input: about this squared.")
]
Saturation = Annotated[float | None, typer.Option(min=0, help="Factor on the colours; 1 as learnt.")]
Descan = Annotated[
    bool, typer.Option("--descan", help="Even out the fading of prints first: a stretch of their lightness.")
]
Engine = Annotated[str, typer.Option(help="What runs the network: auto, torch or openvino.")]
Precision = Annotated[str, typer.Option(help="Of its products: auto, fp32 or bf16.")]
