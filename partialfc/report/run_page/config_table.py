"""A run's config on the page, and what differs between those of several runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from partialfc.report.page import Html, facts, folded, paragraph, plain, table
from partialfc.report.run_page.runs import Run

LONGEST = 400  # characters of a value
MOST = 2000  # keys


def flat(config: Mapping[str, Any], written: Callable[[Any], str] = str) -> dict[str, str]:
    """{"section.key": value as text} of a config's mapping; a list or an empty mapping is one value.

    written: a list as text.
    """
    found: dict[str, str] = {}

    def walk(value: Any, key: str) -> None:
        if len(found) >= MOST:
            return
        if isinstance(value, Mapping) and value:
            for name, part in value.items():
                walk(part, f"{key}.{name}" if key else str(name))
        else:
            found[key] = _shown(written(_set(value)) if isinstance(value, list) else value)

    walk(config, "")
    return found


def _set(value: list[Any]) -> list[Any]:
    """A list whose mappings have no key that is not set; a setting of a stage, with dots, may be null."""
    return [
        {key: part for key, part in each.items() if part is not None or "." in str(key)}
        if isinstance(each, Mapping)
        else each
        for each in value
    ]


def _shown(value: Any) -> str:
    text = (
        {None: "null", True: "true", False: "false"}.get(value)
        if isinstance(value, bool | None)
        else str(value)
    )
    text = str(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def config_blocks(runs: Sequence[Run], main: Sequence[str]) -> list[Html]:
    """Of one run the keys of `main` that it has, and folded all of them; of several what differs."""
    if not any(run.config for run in runs):
        return [paragraph("There is no config.yaml here that can be read.")]
    if len(runs) > 1:
        return _compared(runs)
    config = runs[0].config
    chosen = {
        key: config[key]
        for key in main
        if config.get(key, "null") not in ("null", "[]", "{}") and _takes_part(key, runs[0])
    }
    sections: dict[str, list[tuple[str, str]]] = {}
    for key, value in config.items():
        sections.setdefault(key.partition(".")[0], []).append((key, value))
    return [
        Html(f'<div id="config">{facts(chosen)}</div>'),
        folded(
            f"All {len(config):,} keys",
            *(
                Html(f"<h3>{plain(name)}</h3>{_keyed(table(['key', 'value'], rows))}")
                for name, rows in sections.items()
            ),
        ),
    ]


def _takes_part(key: str, run: Run) -> bool:
    """Whether a key of the head's does anything in this run."""
    if key == "head.sample_rate" and run.config.get("head.name") == "pool":
        return False
    return run.has_head or not key.startswith("head.")


def _compared(runs: Sequence[Run]) -> list[Html]:
    """The keys that differ; below them those that one run alone has, and folded those that are the same."""
    keys = list(dict.fromkeys(key for run in runs for key in run.config))
    owners = {key: [run for run in runs if key in run.config] for key in keys}
    differing = [key for key in keys if len({run.config.get(key) for run in runs}) > 1]
    alone = [key for key in differing if len(owners[key]) == 1]
    shared = [key for key in differing if len(owners[key]) > 1]
    same = [key for key in keys if key not in differing]
    blocks = [paragraph(f"{len(differing):,} keys differ, {len(same):,} are the same in all runs.")]
    if shared:
        rows = [[key, *(run.config.get(key, "") for run in runs)] for key in shared]
        blocks.append(_keyed(table(["key", *(run.name for run in runs)], rows)))
    if alone:
        rows = [[key, owners[key][0].config[key], owners[key][0].name] for key in alone]
        blocks.append(
            folded(
                f"{len(alone):,} keys that one run alone has", _keyed(table(["key", "value", "run"], rows))
            )
        )
    rows = [[key, runs[0].config[key]] for key in same]
    return [*blocks, folded("The keys that are the same", _keyed(table(["key", "value"], rows)))]


def _keyed(*blocks: Html) -> Html:
    return Html(f'<div class="keyed">{"".join(blocks)}</div>')
