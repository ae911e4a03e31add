"""Can uptake be read from the fused colours, by normal sight and with a colour-vision deficiency?

An observer reads every uptake above 8 % at every fused luma, in 8-bit colours, from the colour bar: the nearest colour
in CIELAB, of colours and bar as they are seen. Deficiencies are simulated in full (severity 1) by the matrices of
Machado et al. 2009 (doi 10.1109/TVCG.2009.113) on linear RGB.

Command:  python studies/color_vision.py
Duration: half a minute on one CPU core
Result:   a table in Markdown, by colour map and sight: Spearman's correlation of read and true uptake, the 95th
          percentile of the error, the share of pairs in which the one colder by 0.3 is read as the hotter; it is in
          docs/colors.md
"""

import torch
from torch import Tensor

from monai_s3im.evaluation.readability import READING_GUARDS, reading_of
from monai_s3im.functional import plane_colors
from monai_s3im.transforms.color_map import colors_by

MAPS = ("magenta-gold", "hot", "inferno", "viridis", "turbo", "jet")
SIGHT = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def seen(rgb: Tensor, sight: str) -> Tensor:
    """The colours that look to normal sight as RGB in [0, 1], (3, ...), looks to that sight."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = torch.tensordot(torch.tensor(SIGHT[sight], dtype=rgb.dtype), linear, dims=1).clamp(0, 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055)


def readings(name: str) -> dict[str, list[float]]:
    """Sight -> Spearman, 95 % of the errors, reversed pairs in %."""
    colors = colors_by(name, "lab")
    uptake, luma = (
        x.reshape(1, -1) for x in torch.meshgrid(torch.linspace(0.08, 1, 93), torch.linspace(0, 1, 52), indexing="ij")
    )
    shown = (255 * plane_colors(colors.table, uptake, luma)).round() / 255
    guards = [READING_GUARDS[guard] for guard in ("read", "read error", "reversed")]
    found = {}
    for sight in SIGHT:
        reading = reading_of(seen(shown.double(), sight), seen(colors.bar.double(), sight), uptake, luma)
        found[sight] = [guard.value(reading) for guard in guards]
    return found


def main() -> None:
    """Print the table."""
    print(f"| colour map | {' | '.join(SIGHT)} |\n|{'---|' * (1 + len(SIGHT))}")
    for name in MAPS:
        cells = [f"{read:.2f}, {error:.2f}, {part:.1f} %" for read, error, part in readings(name).values()]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
