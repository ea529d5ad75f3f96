"""Accuracy on unseen characters by how centres and momentum are stored: float32 against 3 bytes a parameter.

    python benchmarks/storage.py --data data/glyphs --output benchmarks/storage.csv

Prints mean and spread (standard deviation) over the seeds; see glyph_runs.py for what a run is.
"""

from glyph_runs import compare, parser

VARIANTS = {
    "float32 + float32": ["head.weight_dtype=float32"],
    "bfloat16 + int8": ["head.weight_dtype=bfloat16", "head.momentum_dtype=int8"],
}


def main() -> None:
    options = parser(__doc__).parse_args()
    compare(VARIANTS, "centres_and_momentum", options)


if __name__ == "__main__":
    main()
