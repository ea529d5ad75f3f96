"""The options that several protocols on sets of images have."""

from pathlib import Path
from typing import Annotated

import typer

MEASURED = "What is measured: one of these"
PANEL = "With all protocols but --pairs"
OF_SOURCES = "Of each SOURCE"
Far = Annotated[
    list[float] | None,
    typer.Option(
        "--far",
        metavar="RATE",
        help="False accept rate, as often as you like. --all-pairs: 1e-6, 1e-5 and 1e-4 where the set is "
        "large enough; --templates: 1e-6 to 1e-1; --pairs: 1e-3 and 1e-4.",
        rich_help_panel="With --pairs, --all-pairs and --templates",
        show_default=False,
    ),
]
Rank = Annotated[
    list[int] | None,
    typer.Option(
        "--rank",
        min=1,
        metavar="K",
        help="Rank-k or recall@k, as often as you like. --identification: 1, 5, 10 and 20; --retrieval: 1, "
        "10, 100 and 1000, In-Shop 1, 10, 20 and 30; --templates: 1, 5 and 10; as far as a search meets so "
        "many images of other classes.",
        rich_help_panel="With --identification, --retrieval and --templates",
        show_default=False,
    ),
]
Gallery = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE",
        help="Images among which those of --identification or --retrieval are looked for, their classes "
        "named alike; without it they are looked for among each other.",
        rich_help_panel="With --identification and --retrieval",
        show_default=False,
    ),
]
Depth = Annotated[
    int,
    typer.Option(
        "--class-depth",
        min=0,
        help="Levels from an image folder to its class folders, 0: on any level, as data.class_depth.",
        rich_help_panel=OF_SOURCES,
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Folder that the paths of a text list are relative to, as data.root.",
        rich_help_panel=OF_SOURCES,
        show_default=False,
    ),
]
Only = Annotated[
    Path | None,
    typer.Option(
        help="File with the key of an image a line: take these of the source alone.",
        rich_help_panel="With --all-pairs, --identification and --retrieval",
        show_default=False,
    ),
]
LeaveOut = Annotated[
    Path | None,
    typer.Option(
        help="File with the key of an image a line: take all others.",
        rich_help_panel="With --all-pairs, --identification and --retrieval",
        show_default=False,
    ),
]
AsNorm = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE",
        help="Images of other identities, a cohort against whose class means each score is normalised "
        "(AS-norm).",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
AsNormTop = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="Nearest classes of the cohort that count. Default: 300, or all of a smaller cohort.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
SaveEmbeddings = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Write each set's embeddings.npy, as the network gives them, and its keys.txt.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace what --save-embeddings wrote before.", rich_help_panel=PANEL),
]
COHORT_OPTIONS = frozenset({"as_norm", "as_norm_top", "class_depth", "root"})
OPTIONS = COHORT_OPTIONS | {"save_embeddings", "overwrite"}
SOURCE_OPTIONS = frozenset({"only", "leave_out", "score"})
