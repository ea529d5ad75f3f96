"""A small IJB-C in the layout in which InsightFace publishes it."""

from pathlib import Path

import numpy as np

from partialfc.data.images.codec import encode_png

TEMPLATES = 14  # 1..14; the subject of each is its number modulo 5
POINTS = np.array(
    [[46, 62], [87, 60], [68, 77], [52, 99], [86, 98]], float
)  # eyes, nose, corners of the mouth


def write_ijb(
    folder: Path, *, prefix: str = "ijbc", letter: str = "G", missing: tuple[int, ...] = ()
) -> None:
    """missing: templates without images, which the other lists name."""
    generator = np.random.default_rng(0)
    patterns = generator.integers(40, 216, (5, 12, 12, 1)).repeat(12, 1).repeat(12, 2)
    (folder / "meta").mkdir(parents=True)
    (folder / "loose_crop").mkdir()
    media, faces, number = [], [], 0
    for template in range(1, TEMPLATES + 1):
        for medium in range(0 if template in missing else 1 + template % 3):
            for _ in range(1 + medium):
                number += 1
                name = f"{number}.png"
                noise = generator.integers(-170, 170, (12, 12, 1)).repeat(12, 0).repeat(12, 1)
                pixels = (patterns[template % 5] + noise).clip(0, 255).astype(np.uint8)
                (folder / "loose_crop" / name).write_bytes(encode_png(pixels))
                points = POINTS + generator.normal(size=(5, 2))
                media.append(f"{name} {template} {100 * template + medium}\n")
                spelled = " ".join(f"{value:.3f}" for value in points.reshape(-1))
                faces.append(f"{name} {spelled} {generator.uniform(0.3, 1):.3f}\n")
    meta = folder / "meta"
    (meta / f"{prefix}_face_tid_mid.txt").write_text("".join(media))
    (meta / f"{prefix}_name_5pts_score.txt").write_text("".join(faces))
    pairs = [f"{a} {b} {int(a % 5 == b % 5)}\n" for a in range(1, 8) for b in range(8, TEMPLATES + 1)]
    (meta / f"{prefix}_template_pair_label.txt").write_text("".join(pairs))
    head = "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID\n"
    for name, templates in {
        f"gallery_{letter}1": (1, 2, 3),
        f"gallery_{letter}2": (4, 5),
        "probe_mixed": range(6, TEMPLATES + 1),
    }.items():
        rows = [f"{each},{each % 5},img/{each}.png,7\n" * 2 for each in templates]
        (meta / f"{prefix}_1N_{name}.csv").write_text(head + "".join(rows))
