"""The `partialfc report` command."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from partialfc.cli.arguments import MAX_PIXELS, Device, MaxPixels, Trust


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Folder of a run; of several, they are compared.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="HTML file to write; default: report.html in the run's folder, of several in the folder "
            "that the first one lies in.",
            show_default=False,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="PNG file to draw, too: loss, angles and ROC of one run.", show_default=False),
    ] = None,
    images: Annotated[
        bool, typer.Option(help="Whether the page shows images, or only their numbers: for private ones.")
    ] = True,
    embed: Annotated[
        int,
        typer.Option(
            min=0,
            help="Images that are embedded for the map of each set, and as many for the class frequency; 0: "
            "none, and no checkpoint is read.",
        ),
    ] = 300,
    map_by: Annotated[
        Literal["pca", "tsne"],
        typer.Option(
            "--map", help="How embeddings get onto a plane: principal components, or t-SNE by scikit-learn."
        ),
    ] = "pca",
    max_pixels: MaxPixels = MAX_PIXELS,
    device: Device = "cpu",
    trust: Trust = None,
) -> None:
    """Write a page about a run, or about several side by side, and print a summary.

    The page is one HTML file that needs no network: config, curves, step times, stages, angles, ROC and DET
    with bands, score histograms, the hardest pairs, class frequency against accuracy, a map of embeddings.
    """
    from partialfc.cli.bars import stages
    from partialfc.cli.run_names import names_of
    from partialfc.cli.run_report.looks import look
    from partialfc.cli.run_report.opened import open_run
    from partialfc.report.figure import check_picture
    from partialfc.report.page import check_page
    from partialfc.report.run_page.log import read_log
    from partialfc.report.run_page.page import write_run_page
    from partialfc.report.run_page.projection import require_method
    from partialfc.report.run_page.runs import Run
    from partialfc.report.run_picture import draw_report
    from partialfc.report.run_summary import summarise

    folders = list(dict.fromkeys(runs))
    place = folders[0] if len(folders) == 1 else folders[0].resolve().parent
    if output is not None or place.is_dir():  # else it is the run that is not there
        check_page("--output", output or place / "report.html")
    check_picture("--picture", picture)
    require_method(map_by)
    found = []
    with stages() as progress:
        logs = {name: read_log(folder, progress) for name, folder in names_of(folders).items()}
        for (name, log), folder in zip(logs.items(), folders, strict=True):
            opened = open_run(
                folder, log, runs=len(folders), progress=progress, images=images, max_pixels=max_pixels
            )
            looks = look(
                opened,
                most=embed,
                method=map_by,
                images=images,
                device=device,
                trust=trust or (),
                max_pixels=max_pixels,
                progress=progress,
            )
            found.append(Run(name, folder, log, opened.shown, opened.scores, looks))
        page = write_run_page(found, output or place / "report.html", progress=progress)
    for run in found:
        if len(found) > 1:
            print(run.name)
        print(summarise(run.folder, run.log))
    if picture is not None:
        print(f"{'picture':<16}{draw_report(folders[0], found[0].scores, picture)}")
    print(f"{'page':<16}{page}")
