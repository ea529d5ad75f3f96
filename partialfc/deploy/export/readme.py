"""The card as people read it: README.md with the header that Hugging Face's Hub reads."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from partialfc.serving.card import Card, Figure

HUB_LICENCES = {  # identifiers that the Hub takes; any other text is "other", with a name
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
    *("cc-by-nd-4.0", "openrail", "unlicense", "other"),
}
NOT_SAID = "not stated: ask whoever trained it before you use it"
HUB_METRICS = {"auc": "roc_auc"}  # their identifiers, where they have one of another name
TAGS = ("partialfc", "metric-learning", "image-verification", "onnx")
SHARES = ("accuracy", "tar@")  # figures that are shown in percent
_BARE = "which leaves the mirrored image out, so that the thresholds below do not hold for it"


def readme(card: Card, *, files: Mapping[str, str], other: Card | None = None) -> str:
    """files: what each file of the folder is. other: of the same network in 8 bits, where there is one."""
    header = yaml.safe_dump(_header(card), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n" + "\n".join(_body(card, files, other)) + "\n"


def _header(card: Card) -> dict[str, Any]:
    licence = card.licence.weights.lower()
    found: dict[str, Any] = {}
    if licence:
        known = licence in HUB_LICENCES
        found = {"license": licence if known else "other"}
        if not known:
            found["license_name"] = card.licence.weights
    found |= {
        "library_name": "partialfc",
        "pipeline_tag": "image-feature-extraction",
        "tags": [*TAGS, *([card.backbone] if card.backbone else [])],
    }
    if card.figures:
        found["metrics"] = ["accuracy", "roc_auc"]
        sets = dict.fromkeys(figure.set for figure in card.figures)
        found["model-index"] = [{"name": card.name, "results": [_result(card, name) for name in sets]}]
    return found


def _result(card: Card, name: str) -> dict[str, Any]:
    return {
        "task": {"type": "image-feature-extraction", "name": "Verification of pairs"},
        "dataset": {"type": name, "name": name},
        "metrics": [
            {"type": HUB_METRICS.get(figure.name, figure.name), "value": round(figure.value, 6)}
            for figure in card.figures
            if figure.set == name
        ],
    }


def _body(card: Card, files: Mapping[str, str], other: Card | None) -> Iterator[str]:
    yield f"# {card.name}"
    yield ""
    yield (
        f"A network that turns an image of {card.image_size}x{card.image_size} pixels into an embedding of "
        f"{card.embedding_size} numbers. The cosine between two of them says how likely both images show the "
        f"same class. {'Exported' if card.step is None else 'Trained and exported'} with partialfc."
    )
    yield from _section("What it is", _table(("", ""), _facts(card)))
    yield from _section("Use", _use(card, files))
    yield from _section("Files", _table(("file", ""), ((f"`{name}`", text) for name, text in files.items())))
    yield from _section("How good it is", _figures(card, other))
    yield from _section("Thresholds", _thresholds(card, other))
    yield from _section("Licence", _licence(card))


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield from ("", f"## {title}", "")
    yield from lines


def _facts(card: Card) -> Iterator[tuple[str, str]]:
    yield "backbone", f"`{card.backbone}`" if card.backbone else "not known"
    yield "images", f"{card.image_size}x{card.image_size}, {'RGB' if card.channels == 3 else 'grey'}"
    yield "embeddings", f"{card.embedding_size} numbers, " + ("of norm 1" if card.unit else "not of norm 1")
    mirrored = {"none": "not used", "sum": "its embedding is added", "concat": "its embedding stands behind"}
    yield "mirrored image", mirrored[card.flip]
    yield "trained on", card.data or "not stated"
    yield "classes", f"{card.classes:,}" if card.classes else "not known"
    yield "loss", _loss(card) or "not known"
    yield "step", "not known" if card.step is None else f"{card.step:,}"
    yield "weights", f"`{card.weights[:16]}` (SHA-256)" if card.weights else "not known"


def _loss(card: Card) -> str:
    settings = [
        f"{key} {value}"
        for key, value in card.margin.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return ", ".join([str(card.margin["name"]), *settings]) if card.margin.get("name") else ""


def _use(card: Card, files: Mapping[str, str]) -> Iterator[str]:
    """Code from an image's file to its embedding."""
    side, channels = card.image_size, card.channels
    yield from (
        "An image is made as large as those that the network was trained on in this way. Resized in another "
        "one it has other cosines, and the thresholds below do not hold.",
        "",
        "```python",
        "import cv2",
        "",
        *_reading(channels),
        f"way = cv2.INTER_AREA if {side} < min(image.shape[:2]) else cv2.INTER_LINEAR",
        f"image = cv2.resize(image, ({side}, {side}), interpolation=way)",
        f"images = image.reshape(1, {side}, {side}, {channels}).transpose(0, 3, 1, 2)",
        "```",
        "",
        f"Then with partialfc{'' if card.flip == 'none' else f', {_BARE}'}:",
        "",
        "```python",
        "import partialfc",
        "import torch",
        "",
        'trained = partialfc.from_pretrained("FOLDER")  # this folder, or its name on the Hub',
        "embeddings = torch.nn.functional.normalize(trained(torch.from_numpy(images)))",
        "```",
    )
    if "model.onnx" not in files:
        return
    yield from (
        "",
        "or with onnxruntime alone:",
        "",
        "```python",
        "import onnxruntime",
        "",
        'session = onnxruntime.InferenceSession("FOLDER/model.onnx")',
        *_given(card),
        'embeddings = session.run(["embeddings"], {"images": images})[0]',
        "```",
    )


def _reading(channels: int) -> Iterator[str]:
    """An image's file to uint8 [H, W, channels], as `data.images.codec.decode` does."""
    flag = "IMREAD_COLOR" if channels == 3 else "IMREAD_GRAYSCALE"
    yield f'image = cv2.imread("IMAGE", cv2.{flag} | cv2.IMREAD_IGNORE_ORIENTATION)'
    if channels == 3:
        yield "image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)"


def _given(card: Card) -> Iterator[str]:
    """uint8 [n, channels, side, side] to what the graph takes."""
    if card.input.layout == "NHWC":
        yield "images = images.transpose(0, 2, 3, 1)"
    if not card.input.normalised:
        yield "images = images / 127.5 - 1"
    if card.input.dtype != "uint8":
        yield f'images = images.astype("{card.input.dtype}")'


def _figures(card: Card, other: Card | None) -> Iterator[str]:
    if not card.figures:
        yield "Not measured: no pairs were given when it was exported."
        return
    yield (
        "Verification of pairs, in float32, with 95 % intervals of a bootstrap by identity. The figures hold "
        "for images like those of these sets, and for no others."
    )
    yield ""
    header = ("set", "figure", "value", "95 % interval", *(("in 8 bits",) if other is not None else ()))
    in_8_bits = {(f.set, f.name): f for f in other.figures} if other is not None else {}
    rows = []
    for figure in card.figures:
        row = [figure.set, figure.name, _value(figure, figure.value), _interval(figure)]
        if other is not None:
            own = in_8_bits.get((figure.set, figure.name))
            row.append("" if own is None else _value(own, own.value))
        rows.append(tuple(row))
    yield from _table(header, iter(rows))


def _thresholds(card: Card, other: Card | None) -> Iterator[str]:
    if not card.thresholds:
        yield "None: no pairs were given when it was exported. Choose one on images of your own."
        return
    yield (
        "Two images count as the same class from this cosine on. FAR: the share of pairs of two classes that "
        "are taken for one at it; TAR: the share of pairs of one class that are found. A rate is given where "
        "the set has enough pairs to say."
    )
    yield ""
    in_8_bits = {(t.set, t.far): f"{t.threshold:.4f}" for t in other.thresholds} if other is not None else {}
    rows = (
        (
            t.set,
            f"{t.far:g}",
            f"{t.threshold:.4f}",
            *([in_8_bits.get((t.set, t.far), "")] if in_8_bits else []),
            "" if t.tar is None else f"{t.tar:.2%}",
        )
        for t in card.thresholds
    )
    yield from _table(("set", "FAR", "cosine", *(["cosine in 8 bits"] if in_8_bits else []), "TAR"), rows)


def _licence(card: Card) -> Iterator[str]:
    yield f"- of the weights: {card.licence.weights or NOT_SAID}"
    yield f"- of the images that it was trained on: {card.licence.data or NOT_SAID}"


def _value(figure: Figure, value: float) -> str:
    if figure.name.startswith(SHARES) or figure.name == "eer":
        return f"{value:.2%}"
    return f"{value:.4f}"


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return "too few identities"
    return f"{_value(figure, figure.low)} to {_value(figure, figure.high)}"


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
