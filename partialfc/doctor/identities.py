"""The check of the batches that `data.sampler: identities` asks for: has the data enough identities?"""

import numpy as np

from partialfc.data.loading.identities import at_most_one_a_batch
from partialfc.doctor.check import Check, green, red, yellow
from partialfc.doctor.labels import Labels, class_sizes, seen


def judge_identities(found: Labels, num_classes: int, *, batch: int, each: int) -> Check:
    """batch: train.batch_size; each: data.images_per_identity, which divides it."""
    name, needed = "identities", batch // each
    sizes, identities = class_sizes(found, num_classes)
    if identities < needed:
        shown = f"{seen(found)} show {identities:,}"
        says = f"a batch of {batch} with {each} images each needs {needed}, and {shown}"
        remedy = f"lower train.batch_size to {identities * each} or less, or raise data.images_per_identity"
        return red(name, says, remedy) if found.complete else yellow(name, says, remedy)
    says = f"{needed} of {identities:,} in a batch, {each} images each"
    if found.complete:
        often = int(sizes.sum()) - int(at_most_one_a_batch(sizes, needed).sum())
        if often:
            return yellow(
                name,
                f"{says}; the largest has {sizes.max():,} of {sizes.sum():,} images: it is in every batch, "
                f"and {often:,} images are left over in each pass over the others",
                "lower train.batch_size or raise data.images_per_identity, for fewer identities in a batch",
            )
    few = int((sizes < each).sum())
    says += f"; {few:,} have fewer images, which repeat"
    if few * 10 > identities:
        median = max(1, int(np.median(sizes)))
        return yellow(name, says, f"lower data.images_per_identity; the median class has {median} images")
    return green(name, says)
