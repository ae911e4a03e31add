"""Training samples with lesions whose places are known, for ``studies/findings.py``."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from torch import Tensor

from monai_s3im.bundle_config import bundle_parser
from monai_s3im.evaluation.evaluate import read_luma
from monai_s3im.evaluation.lesion_cases import phantom_cases

SHARES = {"CT": 0.2, "SPECT": 0.1, "PET": 0.1, "phantom": 0.42, "MR": 0.08, "infrared": 0.1}
TISSUE = 255  # in labels; lesions are 1, 2, ...; 0 is neither
SIDE = 128


@dataclass(frozen=True)
class Sample:
    """A crop.

    Attributes:
        sources: (2, SIDE, SIDE) in [0, 1].
        labels: uint8 (SIDE, SIDE): ``TISSUE``, the number of a lesion, or 0.
        kind: ``"ct"``, ``"uptake"``, ``"coloured uptake"``, ``"infrared"`` or ``"other"``: what is asked of the result.
    """

    sources: Tensor
    labels: Tensor
    kind: str


class Samples:
    """Crops of the Whole Brain Atlas, of RoadScene and of phantom heads, with painted lesions, noise and turns.

    Args:
        harvard: folder with ``datalist_CT-MRI.json``, ``datalist_SPECT-MRI.json`` and ``datalist_PET-MRI.json``.
        roadscene: folder with ``datalist_RoadScene.json``.
        cache: file of the phantom's slices, made if it is not there.
        heads: phantom heads.
        first_head: seed of the first one; those of measurements are others.
        seed: of what is drawn.
        shares: of the kinds of samples; they add to 1.
        pairs: shares of the phantom's pairs, such as ``"T1 + CT"``; those with uptake half of the others if empty.
        in_both: part of the painted lesions that both sources show, most of them with opposite signs.
        extreme: part of the painted lesions that are nearly white or nearly black; the largest are larger, too.
        smallest: radius of the smallest painted lesions, pixels.
    """

    def __init__(
        self,
        harvard: Path,
        roadscene: Path,
        cache: Path,
        heads: int = 5,
        first_head: int = 70000,
        seed: int = 1,
        shares: Mapping[str, float] = SHARES,
        pairs: Mapping[str, float] = {},
        in_both: float = 0.0,
        extreme: float = 0.0,
        smallest: float = 1.5,
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.in_both, self.extreme = in_both, extreme
        self.radii = (smallest, 20.0 if extreme else 12.0)
        self.shares = dict(shares)
        self.pictures = {name: _pictures(harvard / f"datalist_{name}-MRI.json") for name in ("CT", "SPECT", "PET")}
        self.pictures["MR"] = self.pictures["SPECT"]
        self.pictures["infrared"] = _pictures(roadscene / "datalist_RoadScene.json")
        if not cache.exists():
            torch.save(_phantom_slices(first_head, heads), cache)
        slices = torch.load(cache, weights_only=True)
        self.slices = {pair: [item for item in slices if item[0] == pair] for pair in sorted({s[0] for s in slices})}
        usual = {pair: 1.0 if "PET" in pair or "SPECT" in pair else 2.0 for pair in self.slices}
        weights = np.array([(pairs or usual).get(pair, 0.0) for pair in self.slices])
        self._pair_shares = weights / weights.sum()

    def batch(self, size: int) -> tuple[Tensor, list[Sample]]:
        """The sources, (size, 2, SIDE, SIDE), and the samples that they are of."""
        samples = [self.draw() for _ in range(size)]
        return torch.stack([sample.sources for sample in samples]), samples

    def draw(self) -> Sample:
        """One sample."""
        name = self.random.choice(list(self.shares), p=list(self.shares.values()))
        sources, labels, kind = self._phantom() if name == "phantom" else self._picture(str(name))
        if name != "infrared" and self.random.random() < 0.15:
            sources = torch.cat([self._noisy(sources[:1]), sources[1:]])
        turns = int(self.random.integers(4))
        sources, labels = torch.rot90(sources, turns, (1, 2)), torch.rot90(labels, turns, (0, 1))
        if self.random.random() < 0.5:
            sources, labels = sources.flip(2), labels.flip(1)
        return Sample(sources.clamp(0, 1), labels, kind)

    def _phantom(self) -> tuple[Tensor, Tensor, str]:
        pair = str(self.random.choice(list(self.slices), p=self._pair_shares))
        _, image, labels = self.slices[pair][self.random.integers(len(self.slices[pair]))]
        lesions = ((labels > 0) & (labels < TISSUE)).nonzero()
        near = None
        if len(lesions) and self.random.random() < 0.8:
            near = lesions[self.random.integers(len(lesions))].tolist()
        sources, labels = self._crop(image, labels, near)
        if self.in_both and self.random.random() < 0.4:
            sources, labels = self._with_lesions(sources)
        if "PET" in pair or "SPECT" in pair:
            return sources, labels, "coloured uptake"
        return sources, labels, "ct" if pair.endswith("CT") else "other"

    def _picture(self, name: str) -> tuple[Tensor, Tensor, str]:
        images = self.pictures[name]
        image = images[self.random.integers(len(images))]
        for _ in range(1 if name == "infrared" else 4):  # not of the background
            sources, labels = self._crop(image, torch.zeros(image.shape[1:], dtype=torch.uint8))
            if (sources.amax(0) > 0.05).float().mean() > 0.3:
                break
        if name == "MR":
            sources = torch.cat([sources[:1], self._other_sequence(sources[:1])])
            if self.random.random() < 0.5:
                sources = sources.flip(0)
        if name != "infrared" and self.random.random() < 0.6:
            sources, labels = self._with_lesions(sources)
        kinds = {"CT": "ct", "SPECT": "uptake", "PET": "uptake", "infrared": "infrared"}
        return sources, labels, kinds.get(name, "other")

    def _crop(self, image: Tensor, labels: Tensor, near: list[int] | None = None) -> tuple[Tensor, Tensor]:
        """Of a uint8 image (2, H, W), filled up where it is smaller."""
        missing = [max(0, SIDE - size) for size in image.shape[1:]]
        image = F.pad(image[None].float() / 255, (0, missing[1], 0, missing[0]), mode="replicate")[0]
        labels = F.pad(labels, (0, missing[1], 0, missing[0]))
        starts = []
        for dim, size in enumerate(image.shape[1:]):
            at = (
                self.random.integers(0, size - SIDE + 1)
                if near is None
                else near[dim] - self.random.integers(20, SIDE - 20)
            )
            starts.append(int(np.clip(at, 0, size - SIDE)))
        part = tuple(slice(start, start + SIDE) for start in starts)
        return image[(slice(None), *part)], labels[part]

    def _noisy(self, image: Tensor) -> Tensor:
        """With Rician noise of up to 3 %."""
        real, imaginary = torch.randn(2, *image.shape) * (self.random.random() * 0.03)
        return ((image + real).square() + imaginary.square()).sqrt()

    def _other_sequence(self, image: Tensor) -> Tensor:
        """The same anatomy by a random tone curve; black stays black."""
        tones = torch.tensor([0.0, *self.random.random(5)], dtype=torch.float32)
        below = (5 * image).floor().clamp(max=4).long()
        return torch.lerp(tones[below], tones[below + 1], 5 * image - below) * (image > 0.03)

    def _with_lesions(self, sources: Tensor) -> tuple[Tensor, Tensor]:
        """Up to four soft ellipses of either sign, in one source or in both, with a contrast of 1.2 to 6 there."""
        sources, random = sources.clone(), self.random
        brightest = sources.amax(0)
        tissue = ((sources.amin(0) > 0.02) | (brightest > 0.08)) & (brightest <= 0.97)
        labels = torch.where(tissue, TISSUE, 0).to(torch.uint8)
        free = tissue.clone()
        rows, columns = torch.meshgrid(*[torch.arange(SIDE, dtype=torch.float32)] * 2, indexing="ij")
        for number in range(1, int(random.integers(2, 5)) if tissue.sum() >= 400 else 1):
            places = free.nonzero()
            if not len(places):
                break
            row, column = places[random.integers(len(places))]
            radius, shape = (
                np.exp(random.uniform(np.log(1.5), np.log(20 if self.extreme else 12))),
                random.uniform(0.7, 1, 2),
            )
            distance = (((rows - row) / shape[0]) ** 2 + ((columns - column) / shape[1]) ** 2).sqrt() - radius
            lesion, ring = distance <= 0, (distance > 1) & (distance < 5) & tissue
            is_in_tissue = (lesion & tissue).sum() >= 0.85 * lesion.sum() and (
                lesion & ~free
            ).sum() <= 0.2 * lesion.sum()
            if not is_in_tissue or ring.sum() < 25:
                continue
            first, sign = int(random.integers(2)), random.choice([-1, 1])
            self._paint(sources[first], sign, lesion, ring, distance)
            if self.in_both and random.random() < self.in_both:
                opposed = sign if random.random() < 0.25 else -sign
                self._paint(sources[1 - first], opposed, lesion, ring, distance)
            labels[lesion] = number
            free &= distance > 8
        return sources, labels

    def _paint(self, values: Tensor, sign: int, lesion: Tensor, ring: Tensor, distance: Tensor) -> None:
        """A lesion into one source, in place."""
        inside, outside = values[lesion], values[ring]
        spread = ((inside.var(correction=0) + outside.var(correction=0)) / 2).sqrt().clamp(min=0.015)
        if self.extreme and self.random.random() < self.extreme:
            step = (0.97 if sign > 0 else 0.1) - inside.mean()
        else:
            step = sign * self.random.uniform(1.2, 6) * spread - (inside.mean() - outside.mean())
        values.copy_((values + step * (0.5 - distance).clamp(0, 1)).clamp(0, 1))


def _pictures(datalist: Path) -> list[Tensor]:
    """The training pairs as uint8 (2, H, W), colour as its luma."""
    pairs = json.loads(datalist.read_text(encoding="utf-8"))["training"]
    return [
        torch.cat([read_luma(datalist.parent / pair[key]) for key in ("image_a", "image_b")]).round().to(torch.uint8)
        for pair in pairs
    ]


def _phantom_slices(first_head: int, heads: int) -> list[tuple[str, Tensor, Tensor]]:
    """Pair, what the network sees (uint8, 2, H, W) and labels (H, W) of slices, a third of those with a lesion."""
    prepare: Callable[[dict[str, object]], dict[str, object]] = bundle_parser(
        "inference", device="cpu", output_dir="."
    ).get_parsed_content("preprocessing")
    found = []
    for case in phantom_cases(heads, first_head):
        item = dict(zip(("image_a", "image_b"), case.images, strict=True))
        item |= dict(zip(("modality_a", "modality_b"), case.modalities, strict=True))
        for step in prepare.transforms[2:]:  # all but the reading of a list
            item = step(item)
        image, marks = item["image"], torch.where(case.tissue, TISSUE, 0).to(torch.uint8)
        for number, lesion in enumerate((mask for masks in case.lesions.values() for mask in masks), start=1):
            marks[lesion] = number
        volume = MetaTensor(marks[None].float(), affine=case.images[0].affine)
        labels = SpatialResample(mode="nearest", padding_mode="zeros")(volume, image.affine, image.shape[1:])
        labels = labels.as_tensor()[0].round().to(torch.uint8)
        in_brain = [z for z in range(labels.shape[-1]) if (labels[..., z] == TISSUE).sum() > 500]
        with_lesion = [z for z in in_brain if ((labels[..., z] > 0) & (labels[..., z] < TISSUE)).any()]
        values = (255 * image.as_tensor().clamp(0, 1)).round().to(torch.uint8)
        found += [(case.pair, values[..., z], labels[..., z]) for z in sorted({*in_brain[::6], *with_lesion[::3]})]
    return found
