"""The `partialfc data stats` command."""

from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import AsJson, ImageSource, Workers
from partialfc.cli.groups import Selection, grouped


@grouped
def stats(
    *,
    context: typer.Context,
    source: ImageSource,
    selection: Selection,
    page: Annotated[Path | None, typer.Option(help="HTML file to write.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.")] = None,
    as_json: AsJson = False,
    workers: Workers = None,
) -> None:
    """Count images a class, sizes, formats and colours, by labels and first bytes; nothing is decoded."""
    from partialfc.cli.bars import stages
    from partialfc.cli.outputs import require_output
    from partialfc.data.check.statistics import statistics_of
    from partialfc.data.sources.source import open_source
    from partialfc.files import json_text, write_whole
    from partialfc.report.page import check_page
    from partialfc.report.statistics_shown import statistics_text, write_statistics_page

    check_page("--page", page)
    require_output(context, "--output", output)
    opened = open_source(source, **vars(selection))
    with stages() as progress:
        found = statistics_of(opened, workers=workers, progress=progress)
    if output is not None:
        write_whole(output, json_text(found.document(), indent=2) + "\n")
    if page is not None:
        write_statistics_page(found, page)
    print(json_text(found.document(), indent=2) if as_json else statistics_text(found))
