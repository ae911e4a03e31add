"""The anatomy of the head phantom: the tissue at each point of the head frame.

The brain is that of the template, deformed to the individual; skull, face and lesions are painted around and into it.
Later paint covers earlier paint.
"""

from functools import partial

import torch
from torch import Tensor

from .canvas import TISSUES, Canvas, Points, ellipsoid, rod, union, within
from .skull import paint_eyes, paint_face, paint_petrous, paint_scalp, paint_skull, paint_spine
from .subject import PINEAL, TEMPLATE_CENTRE_MM, TEMPLATE_SCALE, VENTRICLES, Subject
from .template import template

BRAIN = ("csf", "grey matter", "white matter", "deep nuclei")
STEM_END_MM = -66.0  # end of the template; the spinal cord continues


def paint_head(canvas: Canvas, points: Points, subject: Subject) -> None:
    """Paints the whole head at points of the head frame."""
    near = (points.x / 90) ** 2 + ((points.y - 5) / 118) ** 2 + (points.z / 160) ** 4 < 1
    canvas.paint_part(near, partial(_paint_near, subject=subject), points)


def _paint_near(canvas: Canvas, still: Points, subject: Subject) -> None:
    dx, dy, dz, texture = subject.noise.at(torch.stack(still[:3]))
    p = Points.at(still.x + dx, still.y + dy, still.z + dz)
    in_template = to_template(p)
    cranium = template()[1].at(in_template)[0] * TEMPLATE_SCALE
    outside = cranium > -canvas.softness_mm
    canvas.paint_part(outside, partial(_paint_around, subject=subject), p, still, cranium, texture)
    canvas.paint_part(
        cranium < canvas.softness_mm, partial(_paint_inside, subject=subject), p, still, in_template.T, cranium, texture
    )
    canvas.paint_part((still.z < STEM_END_MM + 6) & (still.side < 25), paint_spine, p)


def to_template(p: Points) -> Tensor:
    """Places of points in the template (3, n), MNI mm."""
    return torch.stack(p[:3]) / TEMPLATE_SCALE + torch.tensor(TEMPLATE_CENTRE_MM)[:, None]


def _paint_around(canvas: Canvas, p: Points, still: Points, cranium: Tensor, texture: Tensor, subject: Subject) -> None:
    paint_scalp(canvas, p, cranium, texture, subject)
    canvas.paint_part((still.y > -48) & (still.z < 20), paint_face, p, still, texture)
    paint_skull(canvas, p, cranium, texture, subject)
    canvas.paint_part((still.y > 50) & (still.z < -20), paint_eyes, still)


def _paint_inside(
    canvas: Canvas, p: Points, still: Points, in_template: Tensor, cranium: Tensor, texture: Tensor, subject: Subject
) -> None:
    _paint_brain(canvas, p, in_template.T, cranium, subject)
    _paint_lesions(canvas, still, texture, subject)


def _paint_brain(canvas: Canvas, p: Points, in_template: Tensor, cranium: Tensor, subject: Subject) -> None:
    """Inside the skull: CSF, the petrous ridges, and over them the template's grey and white matter."""
    canvas.paint("csf", cranium)
    canvas.paint_part(p.z < -25, paint_petrous, p)
    centre = torch.tensor(VENTRICLES[0])[:, None]
    way = torch.stack(p[:3]) - centre
    near = torch.exp(-(way**2).sum(dim=0) / (2 * VENTRICLES[1] ** 2))
    grown = in_template - way * (near * (1 - 1 / subject.ventricle) / TEMPLATE_SCALE)
    grey, white = template()[0].at(grown, padding="zeros")
    csf = (1 - grey - white).clamp_(0, 1) * subject.atrophy
    total = grey + white + csf
    deep = _deep_nuclei(p) * (1.6 * grey).clamp(max=1)
    brain = torch.stack([grey - grey.minimum(deep), white - white.minimum((deep - grey).clamp_(min=0)), deep]) / total
    canvas.blend(BRAIN[1:], brain)
    _paint_dura(canvas, p, cranium)


def _deep_nuclei(p: Points) -> Tensor:
    """Weight of the deep nuclei (thalamus, lentiform and caudate nucleus): 1 there, 0 elsewhere."""
    thalamus = ellipsoid(p, (11, -2, 1), (11, 15, 10), paired=True)
    lentiform = ellipsoid(p, (23, 17, -6), (10, 19, 12), paired=True)
    caudate = union(rod(p, (11, 32, 0), (13, 18, 12), (8, 6)), rod(p, (13, 18, 12), (17, -2, 16), (6, 5)))
    return (0.5 - union(thalamus, lentiform, caudate) / 2).clamp_(0, 1)


def _paint_dura(canvas: Canvas, p: Points, cranium: Tensor) -> None:
    """The falx between the hemispheres, above the corpus callosum and the cerebellum, and the sinus along its edge."""
    callosum = ellipsoid(p, (0, 8, 2), (30, 46, 24))
    tentorium = -4 - p.z + 0.4 * (p.y + 26).clamp(max=0)
    fissure = within(cranium + 1, 3 - callosum, tentorium)
    canvas.paint("csf", within(p.side - 1.5, fissure), 0.6)
    canvas.paint("dura", within(p.side - 0.7, fissure), 0.7)
    canvas.paint("dura", within(p.side - 4.5 - cranium.clamp(max=0), cranium, 20 - p.z))


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
