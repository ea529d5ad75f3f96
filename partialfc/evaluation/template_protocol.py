"""1:1 and 1:N of templates, as IJB-B and IJB-C define them."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from partialfc.distributed.world import World
from partialfc.errors import DataError
from partialfc.evaluation.bootstrap import Interval, interval, without_errors
from partialfc.evaluation.figures import Figures, mean_interval
from partialfc.evaluation.intervals import with_intervals
from partialfc.evaluation.scores.open_set import OpenSet, best_scores
from partialfc.evaluation.scores.ranking import largest_rank, rank_mates
from partialfc.evaluation.scores.score_norm import Cohort
from partialfc.evaluation.scores.spread import Spread
from partialfc.evaluation.templates import Pooled
from partialfc.evaluation.verification import tar_key, verify

log = logging.getLogger(__name__)

FPIRS = (0.01, 0.1)
CHUNK = 1 << 16  # pairs whose embeddings are in memory at a time
MOST_WEIGHTS = 1_000_000_000  # of pairs and replicates: with more pairs there are fewer replicates
FEWEST = 50

Integers = npt.NDArray[np.int64]


class TemplateProtocol:
    """pooled: the templates. cohort: against which scores are normalised; None: cosines.

    reject_missing: a pair with a template that there is not is refused, and so is a search; otherwise it is a
    DataError. Ranks share the pairs and the searches; the results are the same on each, the intervals on the
    first alone.
    """

    def __init__(
        self,
        pooled: Pooled,
        world: World,
        *,
        cohort: Cohort | None,
        reject_missing: bool,
        replicates: int,
        seed: int,
        dtype: str | None = None,
    ) -> None:
        self._pooled, self._world, self._reject = pooled, world, reject_missing
        self._cohort, self._dtype = cohort, dtype
        self._replicates, self._seed = 0 if world.rank else replicates, seed
        self._spread = self._of(np.arange(len(pooled.numbers)), np.arange(len(pooled.numbers)))

    def verify(
        self, pairs: Integers, same: npt.NDArray[np.bool_], fars: Sequence[float], subjects: Mapping[int, int]
    ) -> Figures:
        """Pairs of templates [P, 2] with same [P] -> TAR at each FAR, AUC and EER; collective.

        subjects: of templates, for the intervals; templates that are not in it are joined to one subject by
        genuine pairs.
        """
        places = self._places(pairs, "pair").reshape(-1, 2)
        scores = self._pair_scores(places)
        found = verify(scores, same, folds=2, fars=fars)
        if self._replicates:
            replicates = min(self._replicates, max(FEWEST, MOST_WEIGHTS // len(scores)))
            identities = _identities(pairs, same, subjects)
            found = with_intervals(
                found, scores, same, identities, folds=2, replicates=replicates, seed=self._seed
            )
        rates: dict[str, float | None] = {tar_key(far): tar for far, tar in found.tar.items()}
        rates |= {"auc": found.auc, "eer": found.eer}
        return Figures(
            {
                "templates": len(np.unique(pairs)),
                "genuine_pairs": int(same.sum()),
                "impostor_pairs": int((~same).sum()),
            },
            rates,
            {name: each for name, each in found.intervals.items() if name in rates},
            dtype=self._dtype,
        )

    def identify(
        self,
        probes: tuple[Integers, Integers],
        galleries: Sequence[tuple[Integers, Integers]],
        ranks: Sequence[int],
    ) -> dict[str, Figures]:
        """Templates [n] and subjects [n] of probes and of each gallery -> the figures of each gallery, and of
        all together; collective.

        Rank-k is over the searches whose subject is in the gallery, TPIR at FPIR over all (`OpenSet`). Of all
        galleries together: rank-k over all such searches, TPIR is the mean of theirs. None at a rank that no
        search of a gallery can miss.
        """
        mosts = largest_ranks(probes[1], [subjects for _, subjects in galleries])
        found: dict[str, Figures] = {}
        searches: list[OpenSet] = []
        before: list[Integers] = []
        _, numbered = np.unique(probes[1], return_inverse=True)
        for number, (gallery, most) in enumerate(zip(galleries, mosts, strict=True), start=1):
            search, places = self._search(probes, numbered.reshape(-1).astype(np.int64), gallery, ranks)
            searches.append(search)
            before.append(places)
            found[f"1:N gallery {number}"] = self._figures([search], [places], len(gallery[0]), ranks, most)
        if len(galleries) > 1:
            size = sum(len(templates) for templates, _ in galleries)
            found["1:N"] = self._figures(searches, before, size, ranks, max(mosts))
        return found

    def _search(
        self,
        probes: tuple[Integers, Integers],
        numbered: Integers,
        gallery: tuple[Integers, Integers],
        ranks: Sequence[int],
    ) -> tuple[OpenSet, Integers]:
        """All searches, and how many others come before the mate [Q]; very many where it is not found."""
        own, other = self._places(probes[0], "probe"), self._places(gallery[0], "gallery template")
        queries = self._of(own[own >= 0], probes[1][own >= 0])
        known = self._of(other[other >= 0], gallery[1][other >= 0])
        mate, stranger = best_scores(queries, known)
        ranking = rank_mates(queries, known, [known], ranks=ranks)
        mates, strangers = np.full((2, len(own)), -np.inf)
        mates[own >= 0], strangers[own >= 0] = mate, stranger
        before = np.full(len(own), np.iinfo(np.int64).max)
        before[own >= 0] = np.where(ranking.found, ranking.before_best, np.iinfo(np.int64).max)
        return OpenSet(np.isin(probes[1], gallery[1]), mates, strangers, numbered), before

    def _figures(
        self, searches: list[OpenSet], before: list[Integers], size: int, ranks: Sequence[int], most: int
    ) -> Figures:
        mated = np.concatenate([each.mated for each in searches])
        subjects = np.concatenate([each.subjects for each in searches])
        places = np.concatenate(before)
        rates: dict[str, float | None] = {
            f"rank-{k}": float((places < k)[mated].mean()) if k <= most else None for k in ranks
        }
        intervals: dict[str, Interval | None] = {}
        if self._replicates:
            intervals = {
                f"rank-{k}": mean_interval(
                    (places < k).astype(float),
                    mated.astype(float),
                    subjects,
                    replicates=self._replicates,
                    seed=self._seed,
                )
                for k in ranks
                if k <= most
            }
        for fpir in FPIRS:
            name = tar_key(fpir).replace("tar@far", "tpir@fpir")
            tpirs = [each.tpir(fpir) for each in searches]
            rates[name] = None if None in tpirs else float(np.mean([tpir or 0.0 for tpir in tpirs]))
            if self._replicates and rates[name] is not None:
                intervals[name] = self._tpir_interval(searches, fpir, rates[name])
        return Figures(
            {
                "searches": int(mated.sum()),
                "searches_of_strangers": int((~mated).sum()),
                "gallery": size,
            },
            rates,
            intervals,
            dtype=self._dtype,
        )

    def _tpir_interval(self, searches: list[OpenSet], fpir: float, rate: float | None) -> Interval | None:
        count = 1 + max(int(each.subjects.max()) for each in searches)
        if rate in (0, 1):
            least = min(len(np.unique(each.subjects[each.mated])) for each in searches)
            width = without_errors(least)
            return Interval(1 - width, 1.0) if rate else Interval(0.0, width)
        values = [
            each.replicates(fpir, count, replicates=self._replicates, seed=self._seed) for each in searches
        ]
        return interval(np.mean(values, axis=0))

    def _places(self, templates: Integers, what: str) -> Integers:
        """[n], where each template is; -1 for one that has no image, where that is allowed."""
        places = self._pooled.places(templates.reshape(-1))
        missing = np.unique(templates.reshape(-1)[places < 0])
        if len(missing):
            says = f"{len(missing)} templates have no image, such as template {missing[0]} of a {what}"
            if not self._reject:
                raise DataError(f"{says}; give their images, or refuse what needs them: --missing reject")
            if self._world.rank == 0:
                log.warning("%s; what needs them is refused", says)
        return places

    def _of(self, places: Integers, subjects: Integers) -> Spread:
        """Templates as embeddings that are spread over the ranks."""
        cuts = np.linspace(0, len(places), self._world.size + 1).astype(int)
        own = slice(cuts[self._world.rank], cuts[self._world.rank + 1])
        rows = self._pooled.rows[torch.from_numpy(places[own]).to(self._pooled.rows.device)]
        found = Spread.of(rows, subjects[own], self._world)
        return found if self._cohort is None else self._cohort.calibrate(found)

    def _pair_scores(self, places: Integers) -> npt.NDArray[np.float64]:
        """The scores [P] of pairs of places [P, 2]; below every other where a template is missing."""
        blocks = sorted(self._spread.blocks(), key=lambda block: block.start)
        rows = torch.cat([block.rows for block in blocks])
        cuts = np.linspace(0, len(places), self._world.size + 1).astype(int)
        own = torch.from_numpy(places[cuts[self._world.rank] : cuts[self._world.rank + 1]]).to(rows.device)
        parts = [rows.new_empty(0)]
        for start in range(0, len(own), CHUNK):
            first, second = own[start : start + CHUNK].unbind(1)
            scores = (rows[first] * rows[second]).sum(1)
            if self._cohort is not None:
                factors = torch.cat([block.calibration for block in blocks if block.calibration is not None])
                both = factors[first] + factors[second]
                scores = scores * both[:, 0] - both[:, 1]
            parts.append(scores)
        gathered = self._world.all_gather_rows(torch.cat(parts), np.diff(cuts).tolist())
        found: npt.NDArray[np.float64] = gathered.double().cpu().numpy()
        missing = (places < 0).any(1)
        if missing.any():
            found[missing] = found.min() - 1
        return found


def largest_ranks(probes: Integers, galleries: Sequence[Integers]) -> list[int]:
    """Of the subjects [n] of probes and those of each gallery, what `largest_rank` says of each gallery."""
    return [largest_rank(probes, gallery, [gallery]) for gallery in galleries]


def _identities(pairs: Integers, same: npt.NDArray[np.bool_], subjects: Mapping[int, int]) -> Integers:
    """The number of the subject of each template of pairs [P, 2]."""
    templates, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(-1, 2)
    if all(template in subjects for template in templates.tolist()):
        own = np.array([subjects[template] for template in templates.tolist()])
    else:
        own = _joined(len(templates), places[same])
    found: Integers = np.unique(own, return_inverse=True)[1].reshape(-1)[places]
    return found


def _joined(count: int, pairs: Integers) -> Integers:
    """The least number of what is joined by pairs, for each of `count`."""
    least = np.arange(count)
    while True:
        lowest = np.minimum(least[pairs[:, 0]], least[pairs[:, 1]])
        new = least.copy()
        np.minimum.at(new, pairs[:, 0], lowest)
        np.minimum.at(new, pairs[:, 1], lowest)
        new = new[new]
        if (new == least).all():
            return least
        least = new
