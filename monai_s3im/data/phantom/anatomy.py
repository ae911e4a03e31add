"""The anatomy of the head phantom: which tissue lies where in the head frame, in the proportions of a typical adult.

The cortex is folded by band-limited noise: its zero sheets are the sulci, and grey matter is what lies within 3 mm of
the cerebrospinal fluid (CSF). What is painted later lies over what was painted before.
"""

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from monai_s3im.data.phantom.canvas import TISSUES, Canvas, Point, Points, ellipsoid, rod, union, within
from monai_s3im.data.phantom.subject import EYE, PINEAL, Subject, sample

CORTEX_MM = 3.0
BASE_TOP_MM = 20.0  # above it there is neither skull base nor face nor hindbrain


def paint_head(canvas: Canvas, points: Points, subject: Subject) -> None:
    """Paints the whole head at points of the head frame."""
    near = (points.x / 90) ** 2 + ((points.y - 5) / 118) ** 2 + (points.z / 160) ** 4 < 1
    canvas.paint_part(near, partial(_paint_near, subject=subject), points)


def _paint_near(canvas: Canvas, still: Points, subject: Subject) -> None:
    dx, dy, dz, texture = sample(subject.noise[:4], still.x, still.y, still.z)
    p = Points.at(still.x + dx, still.y + dy, still.z + dz)
    low = still.z < BASE_TOP_MM
    vault = _vault(p)
    cranium = torch.maximum(vault, 0.85 * (_floor(p) - p.z)) if low.any() else vault  # inner surface of the skull
    skull_mm = subject.skull_mm * (1 + 0.03 * texture) + 2.5 * torch.exp(-(((p.y - 88) / 25) ** 2))
    _paint_scalp(canvas, p, vault, skull_mm, texture, subject)
    _paint_skull(canvas, p, vault, cranium, skull_mm, texture)
    canvas.paint_part(low & (still.side > 5) & (still.y < 68), _paint_skull_base, p, texture)
    canvas.paint_part(low & (still.y > 0), _paint_face, p, still, texture)
    canvas.paint_part(low & (still.z < -55) & (still.side < 25), _paint_spine, p)
    inside = cranium < canvas.softness_mm
    canvas.paint_part(inside, partial(_paint_inside, subject=subject), p, still, cranium, texture)


def _paint_inside(canvas: Canvas, p: Points, still: Points, cranium: Tensor, texture: Tensor, subject: Subject) -> None:
    _paint_cerebrum(canvas, p, cranium, subject)
    _paint_ventricles_and_nuclei(canvas, p, texture, subject)
    canvas.paint_part(still.z < BASE_TOP_MM, _paint_hindbrain, p, cranium, texture)
    _paint_lesions(canvas, still, texture, subject)


def _vault(p: Points) -> Tensor:
    """The round part of the inner skull: an egg, narrower in front, a little squarer than an ellipsoid."""
    x, y, z = p.x / (1 - 0.10 * (p.y / 86).clamp(-1, 1)) / 67, p.y / 85, p.z / 70
    x2, y2, z2 = x * x, y * y, z * z
    radius = 0.6 * (x2 + y2 + z2).sqrt() + 0.4 * (x2 * x2 + y2 * y2 + z2 * z2).sqrt().sqrt()
    return (radius - 1) * (p.x**2 + p.y**2 + p.z**2).sqrt_() / radius.clamp(min=0.05)


def _floor(p: Points) -> Tensor:
    """Height of the skull base: the anterior, middle and posterior cranial fossa, and the petrous ridge between."""
    front = torch.sigmoid((p.y - 30 + 0.1 * p.side) / 2.5)
    ridge = 4 - 0.45 * p.side
    back = torch.sigmoid((ridge - p.y) / 3)
    middle = -24 - 20 * torch.sigmoid((p.side - 15) / 2.5)
    anterior = -22 + 9 * torch.exp(-(((p.side - 28) / 13) ** 2)) - 5 * torch.exp(-((p.side / 7) ** 2))
    posterior = -68 + 0.012 * p.side**2 + 40 * torch.exp(-((p.side / 16) ** 2)) * torch.sigmoid((p.y + 10) / 5)
    petrous = 14 * torch.exp(-(((p.y - ridge) / 6) ** 2)) * torch.sigmoid((p.side - 14) / 3)
    return front * anterior + (1 - front) * (back * posterior + (1 - back) * middle + petrous)


def _paint_scalp(canvas: Canvas, p: Points, vault: Tensor, skull_mm: Tensor, texture: Tensor, subject: Subject) -> None:
    """Skin and fat over everything, flesh inside: the temporal muscle on the vault, face and neck below."""
    temporal = torch.exp(-(((p.z + 20) / 28) ** 2) - ((p.y - 25) / 28) ** 2) * torch.sigmoid((p.side - 40) / 5)
    scalp = vault - skull_mm - subject.scalp_mm - 9 * temporal
    face = ellipsoid(p, (0, 38, -64), (62, 60, 72))
    neck = ellipsoid(p, (0, -22, -105), (58, 60, 70))
    nose = rod(p, (0, 94, -34), (0, 107, -60), (4, 9), paired=False)
    brow = ellipsoid(p, (0, 60, -14), (56, 39, 24))
    head = union(scalp, face, neck, nose, brow)
    canvas.paint("fat", head)
    canvas.paint("skin", head.abs() - 1.8)
    flesh = union(within(head + 5, p.z + 8), within(scalp + 4.5, 1.2 - 6 * temporal))
    canvas.paint("muscle", flesh)
    canvas.paint("fat", within(flesh + 2, 3 * (1.6 - texture)), 0.8)


def _paint_skull(canvas: Canvas, p: Points, vault: Tensor, cranium: Tensor, skull_mm: Tensor, texture: Tensor) -> None:
    """Outer table, diploe and inner table of the vault, which ends at the level of the base; the base is thinner."""
    level = -40 - p.z - 0.22 * p.y
    shell = within(vault - skull_mm, -vault, level)
    base = within(cranium - 4, -cranium, vault - skull_mm)
    canvas.paint("cortical bone", union(shell, base))
    marrow = (vault - skull_mm / 2).abs() - (skull_mm / 2 - 1.9) - 0.15 * texture
    canvas.paint("diploe", within(marrow, level + 4))


def _paint_skull_base(canvas: Canvas, p: Points, texture: Tensor) -> None:
    canvas.paint("petrous bone", rod(p, (14, 4, -36), (62, -20, -40), (6, 11)))
    mastoid = ellipsoid(p, (60, -24, -52), (13, 16, 20), paired=True)
    canvas.paint("cortical bone", mastoid - 2)
    canvas.paint("air", within(mastoid, 6 * (0.3 - texture)))
    canvas.paint("air", rod(p, (48, -10, -46), (80, -12, -46), (2.5, 4)))  # ear canal
    canvas.paint("cortical bone", rod(p, (66, 8, -46), (46, 58, -48), (3, 4)))  # zygomatic arch


def _paint_spine(canvas: Canvas, p: Points) -> None:
    canvas.paint("cortical bone", rod(p, (0, -30, -86), (0, -36, -125), (15, 17), paired=False))  # vertebrae
    canvas.paint("csf", rod(p, (0, -30, -72), (0, -36, -125), (9, 8), paired=False))
    canvas.paint("white matter", rod(p, (0, -27, -70), (0, -34, -120), (6, 5), paired=False))


def _paint_face(canvas: Canvas, p: Points, still: Points, texture: Tensor) -> None:
    orbit = rod(p, (EYE[0], EYE[1] - 2, EYE[2]), (12, 32, EYE[2] + 2), (17, 4))
    maxilla = ellipsoid(p, (27, 56, -66), (17, 20, 17), paired=True)
    nasal = ellipsoid(p, (0, 62, -52), (14, 36, 26))
    sphenoid = ellipsoid(p, (0, 22, -36), (13, 13, 10))
    frontal = ellipsoid(p, (9, 87, -8), (11, 5, 12), paired=True)
    canvas.paint("cortical bone", union(orbit, maxilla, sphenoid, nasal, frontal) - 2)
    canvas.paint("fat", union(orbit, within(orbit - 3, 66 - p.y)))
    canvas.paint("air", union(maxilla, sphenoid, frontal) - 0.6 * texture)
    canvas.paint("muscle", nasal)
    turbinate = 2.2 * torch.sin(p.side * 0.95 + 0.8 * texture) - 0.8
    canvas.paint("air", within(nasal + 1.0, -turbinate))
    canvas.paint("cortical bone", within(nasal, p.side - 0.6), 0.6)  # septum
    cone = ((orbit + 7).abs() - 1.3).clamp(min=-2)
    canvas.paint("muscle", within(cone, p.y - EYE[1] + 6))
    canvas.paint("white matter", rod(p, (EYE[0], EYE[1] - 10, EYE[2]), (12, 30, EYE[2] + 2), (2, 2)))
    canvas.paint("muscle", ellipsoid(still, EYE, (13.2, 13.2, 13.2), paired=True))
    canvas.paint("vitreous", ellipsoid(still, EYE, (11.8, 11.8, 11.8), paired=True))
    canvas.paint("muscle", ellipsoid(still, (EYE[0], EYE[1] + 9, EYE[2]), (4.5, 2.2, 4.5), paired=True))  # lens


def _paint_cerebrum(canvas: Canvas, p: Points, cranium: Tensor, subject: Subject) -> None:
    """Cerebrum: CSF everywhere inside the skull, then grey, then white matter by distance from the pial surface."""
    canvas.paint("csf", cranium)
    width = subject.sulcus_mm
    depth = -cranium - 1.2 - 1.8 * width
    core = ellipsoid(p, (0, -3, 2), (34, 42, 26))  # callosum and what it covers: no fissure there
    fissure = (p.x**2 + (-core).clamp(min=0) ** 2).sqrt_() - 0.6 - 0.6 * width
    tentorium = torch.maximum(_tentorium(p), 0.9 * (p.y + 20 - 0.35 * p.side))
    sylvian = _sylvian(p) - 0.6 - width
    depth = union(depth, fissure, tentorium - 1, sylvian)
    folded = union(-cranium - 2, fissure + 5, tentorium + 4, sylvian + 7)  # sulci are deepest on the outside
    radius = ((p.x / 67) ** 2 + (p.y / 85) ** 2 + (p.z / 70) ** 2).sqrt_().clamp_(min=0.6)
    stretch = 0.45 + 0.55 / radius  # along the radius the folding changes slowly, so sulci stand upright
    sheet, bottom = sample(subject.noise[[4, 0]], p.x * stretch, p.y * stretch, p.z * stretch)
    sulcus = (sheet**2 + (folded - 15 - 3 * bottom).clamp(min=0) ** 2).sqrt_() - width
    pial = torch.minimum(depth, sulcus)
    canvas.paint("grey matter", -pial)
    canvas.paint("white matter", CORTEX_MM - pial)
    falx = within(p.x.abs() - 0.7, -core + 6, cranium, -p.z - 5)
    canvas.paint("dura", falx, 0.7)
    canvas.paint("dura", rod(p, (0, -80, 15), (0, -40, 62), (4, 3), paired=False))  # sagittal sinus


def _tentorium(p: Points) -> Tensor:
    """Distance above the sheet between cerebrum and cerebellum, which falls off to both sides like a tent."""
    return 0.88 * (p.z + 9 + 0.52 * p.side - 0.12 * (p.y + 20))


def _sylvian(p: Points) -> Tensor:
    """Distance to the Sylvian fissure: an oblique sheet from the side of the brain in to the insula."""
    sheet = (p.z + 6 + 0.35 * (p.y - 5)).abs() * 0.94
    ends = (36 - p.side).clamp(min=0) ** 2 + ((p.y - 2).abs() - 26).clamp(min=0) ** 2
    back, up = p.y - 2, p.z - 2
    insula = p.side - 39 + 0.010 * back**2 + 0.018 * up**2
    rim = (((back / 24) ** 2 + (up / 16) ** 2).sqrt_() - 1).clamp_(min=0) * 16
    return torch.minimum((sheet**2 + ends).sqrt_(), (insula**2 + rim**2).sqrt_())


def _paint_ventricles_and_nuclei(canvas: Canvas, p: Points, texture: Tensor, subject: Subject) -> None:
    canvas.paint("deep nuclei", ellipsoid(p, (11, -16, 5), (9, 14, 9), paired=True))  # thalamus
    canvas.paint("deep nuclei", rod(p, (20, 18, 3), (28, -10, 4), (6, 3.5)))  # lentiform
    canvas.paint("deep nuclei", rod(p, (13, 24, 8), (19, -6, 21), (5, 2.5)))  # caudate
    size = subject.ventricle
    trail: list[tuple[Point, float]] = [
        ((14, 38, 7), 1.6), ((6.5, 20, 11), 3.6), ((7.5, 0, 21), 3.8), ((13, -24, 21), 4.2),
        ((24, -40, 9), 5.2), ((25, -60, 4), 1.4),
    ]  # fmt: skip
    lateral = [rod(p, a, b, (size * ra, size * rb)) for (a, ra), (b, rb) in pairwise(trail)]
    lateral.append(rod(p, (24, -40, 8), (32, -12, -16), (size * 3, size * 1.5)))  # temporal horn
    third = ellipsoid(p, (0, -8, 0), (1.8 * size, 14, 10))
    canvas.paint("csf", union(third, *lateral))
    cistern = union(
        ellipsoid(p, (0, 10, -20), (12, 9, 7)), ellipsoid(p, (0, -38, -4), (10, 6, 8)),
        ellipsoid(p, (0, -18, -14), (20, 14, 8)),
    )  # fmt: skip
    canvas.paint("csf", cistern)
    canvas.paint("calcification", ellipsoid(p, (23, -41, 9), (2, 3, 2), paired=True) + 0.5 - 0.8 * texture)  # choroid


def _paint_hindbrain(canvas: Canvas, p: Points, cranium: Tensor, texture: Tensor) -> None:
    """Brainstem and cerebellum, whose folia are fine curved layers."""
    lobes = union(ellipsoid(p, (24, -50, -42), (38, 34, 30), paired=True), ellipsoid(p, (0, -50, -36), (12, 28, 22)))
    cerebellum = within(lobes, cranium + 2.5, _tentorium(p) + 1)
    canvas.paint("grey matter", cerebellum)
    centre = ellipsoid(p, (17, -40, -38), (34, 30, 24), paired=True)
    folia = torch.sin(1.05 * centre + 0.9 * texture)
    medulla = ellipsoid(p, (19, -42, -42), (17, 15, 9), paired=True)
    canvas.paint("white matter", union(medulla, within(cerebellum + 3, 1.0 - 2 * folia)), 0.65)
    canvas.paint("csf", within(cerebellum, medulla.neg() + 4, 2.6 + 3 * folia), 0.5)
    stem = union(
        ellipsoid(p, (0, -17, -14), (17, 12, 16)),
        ellipsoid(p, (0, -15, -34), (16, 14, 16)),
        rod(p, (0, -20, -44), (0, -27, -75), (11, 6), paired=False),
    )
    canvas.paint("csf", within(stem - 2.5 - 0.8 * texture, p.z + 6, cranium))
    canvas.paint("white matter", stem)
    canvas.paint("csf", ellipsoid(p, (0, -33, -38), (6, 3.5, 9)))  # fourth ventricle


def _paint_lesions(canvas: Canvas, p: Points, texture: Tensor, subject: Subject) -> None:
    canvas.paint("calcification", ellipsoid(p, PINEAL, (3.0, 3.0, 3.0)))
    if "tumour" in subject.lesions:
        centre, radius = subject.lesions["tumour"]
        mass = ellipsoid(p, centre, (radius, radius * 1.1, radius)) - 0.08 * radius * texture
        white = canvas.labels == TISSUES["white matter"].label
        swelling = ((14 + 5 * texture - mass) / 8).clamp(0, 1)
        canvas.paint("oedema", mass - 18, swelling * white)
        canvas.paint("tumour", mass)
        canvas.paint("oedema", mass + 0.6 * radius, 0.9)  # necrotic core
    if "haemorrhage" in subject.lesions:
        centre, radius = subject.lesions["haemorrhage"]
        clot = ellipsoid(p, centre, (radius, radius * 1.3, radius)) - 0.1 * radius * texture
        canvas.paint("oedema", clot - 3)
        canvas.paint("haemorrhage", clot)
