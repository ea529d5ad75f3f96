"""Accuracy on unseen characters by sample rate: the quickstart's training at r = 1.0, 0.3, 0.1, 0.03.

    python benchmarks/sample_rate.py --data data/glyphs --output benchmarks/sample_rate.csv

Prints mean and spread (standard deviation) over the seeds; see glyph_runs.py for what a run is.
"""

from glyph_runs import compare, parser


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rates", type=float, nargs="+", default=[1.0, 0.3, 0.1, 0.03])
    options = arguments.parse_args()
    compare({str(rate): [f"head.sample_rate={rate}"] for rate in options.rates}, "sample_rate", options)


if __name__ == "__main__":
    main()
