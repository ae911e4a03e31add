"""The surroundings of the phantom's brain, in the proportions of a typical adult: scalp, skull, face, spine."""

import torch
from torch import Tensor

from .canvas import Canvas, Points, ellipsoid, rod, union, within
from .subject import EYE, Subject

BASE_MM = 3.0  # thickness of the bone under the brain
FACE_DOWN_MM = 8.0


def _dome(p: Points) -> Tensor:
    """A smooth egg slightly inside the vault, flat below; bone well inside it is the base of the skull."""
    x, z = p.x / (1 - 0.10 * (p.y / 86).clamp(-1, 1)), p.z * (1 + 0.375 * (p.z < 0))
    return ellipsoid(Points.at(x, p.y, z), (0, 0, 0), (64, 82, 66))


def paint_scalp(canvas: Canvas, p: Points, cranium: Tensor, texture: Tensor, subject: Subject) -> None:
    """Skin and fat over everything, flesh inside: the temporal muscle on the vault, face and neck below."""
    vault = union(cranium, _dome(p))
    temporal = torch.exp(-(((p.z + 20) / 28) ** 2) - ((p.y - 25) / 28) ** 2) * torch.sigmoid((p.side - 40) / 5)
    scalp = vault - subject.skull_mm - subject.scalp_mm - 9 * temporal
    face = ellipsoid(p, (0, 36, -72), (62, 60, 72))
    neck = ellipsoid(p, (0, -22, -105), (58, 60, 70))
    nose = rod(p, (0, 93, -42), (0, 106, -68), (4, 9), paired=False)
    brow = ellipsoid(p, (0, 58, -22), (56, 39, 24))
    head = union(scalp, face, neck, nose, brow)
    canvas.paint("fat", head)
    canvas.paint("skin", head.abs() - 1.8)
    flesh = union(within(head + 5, p.z + 14), within(scalp + 4.5, 1.2 - 6 * temporal))
    canvas.paint("muscle", flesh)
    canvas.paint("fat", within(flesh + 2, 3 * (1.6 - texture)), 0.8)


def paint_skull(canvas: Canvas, p: Points, cranium: Tensor, texture: Tensor, subject: Subject) -> None:
    """Outer table, diploe and inner table of the vault; the base is one thin layer, and thick only in the middle."""
    vault = torch.sigmoid((_dome(p) + 4) / 2.5)
    thick = BASE_MM + vault * (subject.skull_mm * (1 + 0.03 * texture) - BASE_MM)
    thick = thick + 2.5 * vault * torch.exp(-(((p.y - 88) / 25) ** 2))
    bone = within(cranium - thick, -cranium)
    canvas.paint("cortical bone", bone)
    marrow = (cranium - thick / 2).abs() - (thick / 2 - 1.9) - 0.15 * texture
    canvas.paint("diploe", within(marrow, 12 * (0.8 - vault)))
    frontal = ellipsoid(p, (9, 86, -18), (11, 5, 12), paired=True)
    canvas.paint("cortical bone", within(frontal - 2, -cranium))
    canvas.paint("air", within(frontal - 0.6 * texture, 2 - cranium))


def paint_face(canvas: Canvas, p: Points, still: Points, texture: Tensor) -> None:
    """The base of the skull, the orbits and the eyes, and the air of nose, sinuses and mastoids."""
    p = Points.at(p.x, p.y, p.z + FACE_DOWN_MM)
    _paint_base(canvas, p, texture)
    orbit = rod(p, (EYE[0], EYE[1] - 2, EYE[2] + FACE_DOWN_MM), (12, 32, EYE[2] + FACE_DOWN_MM + 2), (17, 4))
    maxilla = ellipsoid(p, (27, 56, -66), (17, 20, 17), paired=True)
    nasal = ellipsoid(p, (0, 62, -52), (14, 36, 26))
    sphenoid = ellipsoid(p, (0, 26, -32), (12, 13, 9))
    canvas.paint("cortical bone", union(orbit, maxilla, sphenoid, nasal) - 2)
    canvas.paint("fat", union(orbit, within(orbit - 3, 66 - p.y)))
    canvas.paint("air", union(maxilla, sphenoid) - 0.6 * texture)
    canvas.paint("muscle", nasal)
    turbinate = 2.2 * torch.sin(p.side * 0.95 + 0.8 * texture) - 0.8
    canvas.paint("air", within(nasal + 1.0, -turbinate))
    canvas.paint("cortical bone", within(nasal, p.side - 0.6), 0.6)  # septum
    cone = ((orbit + 7).abs() - 1.3).clamp(min=-2)
    canvas.paint("muscle", within(cone, p.y - EYE[1] + 6))
    nerve = rod(still, (EYE[0], EYE[1] - 10, EYE[2]), (12, 30, EYE[2] + 2), (2, 2))
    canvas.paint("white matter", nerve)


def paint_eyes(canvas: Canvas, still: Points) -> None:
    """The eyeballs, painted over the roof of the orbit where that is low."""
    canvas.paint("muscle", ellipsoid(still, EYE, (13.2, 13.2, 13.2), paired=True))
    canvas.paint("vitreous", ellipsoid(still, EYE, (11.8, 11.8, 11.8), paired=True))
    canvas.paint("muscle", ellipsoid(still, (EYE[0], EYE[1] + 9, EYE[2]), (4.5, 2.2, 4.5), paired=True))  # lens


def _paint_base(canvas: Canvas, p: Points, texture: Tensor) -> None:
    clivus = rod(p, (0, 22, -34), (0, -8, -62), (11, 7), paired=False)
    canvas.paint("cortical bone", clivus)
    canvas.paint("diploe", clivus + 2)
    canvas.paint("petrous bone", _petrous(p))
    mastoid = ellipsoid(p, (52, -24, -52), (11, 15, 18), paired=True)
    canvas.paint("cortical bone", mastoid - 2)
    canvas.paint("air", within(mastoid, 6 * (0.3 - texture)))
    canvas.paint("air", rod(p, (46, -10, -46), (76, -12, -46), (2.5, 4)))  # ear canal
    canvas.paint("cortical bone", rod(p, (62, 2, -46), (46, 58, -48), (3, 4)))  # zygomatic arch


def paint_petrous(canvas: Canvas, p: Points) -> None:
    """The petrous ridges that reach into the skull between temporal lobes and cerebellum."""
    canvas.paint("petrous bone", _petrous(Points.at(p.x, p.y, p.z + FACE_DOWN_MM)))


def _petrous(p: Points) -> Tensor:
    return rod(p, (14, 4, -34), (54, -20, -38), (6, 10))


def paint_spine(canvas: Canvas, p: Points) -> None:
    """The foramen magnum with vertebrae, CSF and spinal cord."""
    top = (0, -26, -68)
    canvas.paint("cortical bone", rod(p, (0, -30, -86), (0, -36, -125), (15, 17), paired=False))
    canvas.paint("csf", rod(p, top, (0, -36, -125), (10, 8), paired=False))
    canvas.paint("white matter", rod(p, top, (0, -34, -120), (6, 5), paired=False))
