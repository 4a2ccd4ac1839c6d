"""``cellgennet models``: the bundles that are there, with their cards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .hinting import HintingGroup
from .next_step import quoted
from .options import json_option, print_json

if TYPE_CHECKING:
    from ..bundle import Bundle


class _Models(HintingGroup):
    """A group that says how folders are listed to who names one instead of a subcommand."""

    def hint(self, name: str) -> str:
        """The command that lists bundles."""
        folder = name if Path(name).is_dir() else "FOLDER"
        return f"To list the bundles in a folder: cellgennet models list {quoted(folder)}"


@click.group("models", cls=_Models, invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Model bundles. Without a subcommand: list those that ship with the package and those found here."""
    if context.invoked_subcommand is None:
        _list((), as_json)


@command.command("list")
@click.argument("folders", metavar="[FOLDER]...", nargs=-1, type=click.Path(path_type=Path))
@json_option
def listed(folders: tuple[Path, ...], as_json: bool) -> None:
    """List the bundles that ship with the package, and those in FOLDER (default: this folder).

    Bundles in folders directly inside FOLDER are found too.
    """
    _list(folders, as_json)


@command.command("export")
@click.argument("bundle")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The archive to write (.zip).",
)
@click.option("--licence", default="", metavar="SPDX", help="Licence, if the bundle's card states none.")
@click.option("--author", "authors", multiple=True, metavar="NAME", help="Who made the model (repeatable).")
def export(bundle: str, output: Path, licence: str, authors: tuple[str, ...]) -> None:
    """Write BUNDLE as a BioImage.IO model, for other programs to run.

    BUNDLE is a folder, `pretrained` or `pretrained-fast`.

    The archive holds the student as ONNX, test tensors, licence and citations, and a README that describes
    how colours are normalised and how maps become nuclei.
    """
    from ..api import load_bundle
    from ..core.errors import UsageError
    from ..core.resources import sample_projects
    from ..segmentation.bioimageio import Publication, write_bioimageio

    if output.suffix.lower() != ".zip":
        raise UsageError(output, "is not the name of an archive", "End it in .zip")
    sample = sample_projects() / "quickstart" / "slides" / "slide3_nests.ome.tif"
    write_bioimageio(load_bundle(bundle), sample, output, Publication(licence, authors))
    click.echo(f"{output}: a BioImage.IO model. Its README says how to normalise and decode.")


def _list(folders: Iterable[Path], as_json: bool) -> None:
    from ..bundle import INTENDED_USE, bundles_in, shipped_bundles
    from ..core.errors import UsageError

    places = tuple(folders) or (Path(),)
    for folder in places:
        if not folder.is_dir():
            raise UsageError(folder, "is not a folder", "Name a folder that contains model bundles")
    shipped = shipped_bundles()
    found = [path for folder in places for path in bundles_in(folder)]
    known = {path.resolve() for path in shipped.values()}
    others = list(dict.fromkeys(path for path in found if path.resolve() not in known))
    models = [_described(path, name) for name, path in shipped.items()]
    models += [_described(path) for path in others]
    if as_json:
        print_json({"models": models})
        return
    for model in models:
        _print(model)
    if not others:
        where = ", ".join(str(folder.resolve()) for folder in places)
        click.echo(f"No other model bundle was found in {where}.\n")
    click.echo(INTENDED_USE)
    click.echo("Use one: cellgennet segment PROJECT -m MODEL")


def _described(path: Path, shipped_as: str | None = None) -> dict[str, Any]:
    """A bundle as plain data; ``problem`` says why it cannot be used. Shipped ones are used by a name."""
    from ..bundle import load_bundle
    from ..core.errors import BundleError

    about: dict[str, Any] = {"path": str(path), "shipped": shipped_as is not None, "name": None}
    about |= {"problem": None, "use": shipped_as or str(path)}
    try:
        return about | _card(load_bundle(path))
    except BundleError as error:
        return about | {"problem": str(error)}


def _card(bundle: Bundle) -> dict[str, Any]:
    card = bundle.card
    return {
        "name": card.name,
        "created": card.created,
        "licence": card.licence,
        "attribution": card.attribution,
        "intended_use": card.intended_use,
        "stain": card.stain,
        "mpp": card.mpp,
        "magnification": card.magnification,
        "species": card.species,
        "learnt_from": card.learnt_from,
        "classes": card.classes,
        "images": _number(card.training.get("images")),
        "nuclei": _number(card.training.get("training_nuclei")),
        "scores": _scores(card.metrics.get("student")) or _scores(card.metrics.get("teacher")),
        "teacher": bundle.holds_teacher,
        "checksum": f"sha256:{bundle.fingerprint}",
    }


def _number(value: object) -> int | float | None:
    """A number of a card; None for anything else that a person may have written there."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _scores(value: object) -> dict[str, int | float]:
    """The numbers among scores."""
    scores = value.items() if isinstance(value, dict) else ()
    return {str(name): number for name, one in scores if (number := _number(one)) is not None}


def _print(model: dict[str, Any]) -> None:
    if model["problem"]:
        click.echo(f"{model['path']}\n  cannot be used: {model['problem']}\n")
        return
    click.echo(f"{model['name']}{' (shipped with the package)' if model['shipped'] else ''}")
    click.echo(f"  use:          -m {model['use']}")
    click.echo(f"  learnt from:  {model['learnt_from']}")
    if model["nuclei"]:
        images = "" if model["images"] is None else f" in {model['images']:,} images"
        click.echo(f"  trained on:   {model['nuclei']:,} nuclei{images}")
    scores = model["scores"]
    if "f1@0.5" in scores and "pq" in scores:
        number = scores.get("true_objects")
        held_out = f" on {number:,.0f} nuclei set aside" if number else ""
        click.echo(f"  scores:       F1 {scores['f1@0.5']:.2f}, PQ {scores['pq']:.2f}{held_out}")
    click.echo(f"  created:      {model['created'][:10]}, licence: {model['licence']}")
    click.echo(f"  folder:       {model['path']}\n")
