"""A network that weighs the bands of a pyramid: a third of the time of Fig. 2 or less, and both sources shown."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PyramidFusion(nn.Module):
    """Fusion by learned weights of a Laplacian pyramid's bands, and a learned tone of its base.

    As in Fig. 2, features of both sources, related over the whole image, decide how much of each source is used.
    Convolutions process the sources and their bands from fine to coarse. The coarsest features also receive the mean
    and the maximum over the image. Then, from coarse to fine, the features weigh each source's band. The base,
    1 / 2^levels of the size, is a weighted sum of the sources' bases plus an offset.

    The result stays within the range of the sources in the surrounding 7 x 7 pixels, widened by ``margin``, and by
    less where both are dark. So black stays black, and no structure is invented.

    Time and memory are proportional to the number of pixels.

    Args:
        in_channels: sources; 2 for a pair.
        widths: channels of the features at each level, from the finest to the coarsest.
        gain: largest weight of a band.
        margin: how far the result may leave the range of the sources, of 1.

    References:
        Burt and Adelson 1983, https://doi.org/10.1109/TCOM.1983.1095851, for the pyramid.
    """

    def __init__(
        self,
        in_channels: int = 2,
        widths: tuple[int, ...] = (8, 16, 24, 32, 32),
        gain: float = 2.0,
        margin: float = 0.08,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.levels = len(widths)
        self.side = 2**self.levels  # sides are padded to a multiple of it
        self.gain = gain
        self.margin = margin
        deepest = widths[-1]
        finer = (0, *widths[:-1])
        self.analysis = nn.ModuleList(_conv(2 * in_channels + f, w) for f, w in zip(finer, widths, strict=True))
        self.base = _conv(in_channels + deepest, deepest)
        self.context = nn.Linear(2 * deepest, deepest)
        self.base_in_context = _conv(deepest, deepest)
        self.tone = nn.Conv2d(deepest, in_channels + 1, kernel_size=1)
        coarser = (*widths[1:], deepest)
        levels = list(zip(widths, coarser, strict=True))[::-1]  # from coarse to fine
        self.synthesis = nn.ModuleList(_conv(w + c, w) for w, c in levels)
        self.weights = nn.ModuleList(_conv(w, in_channels) for w, _ in levels)
        for last in (self.tone, *self.weights):  # start with equal weights
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster with few channels

    def forward(self, image: Tensor) -> Tensor:
        """Fuse.

        Args:
            image: the sources, (B, in_channels, H, W), values in [0, 1], any H and W.

        Returns:
            The fused image, (B, 1, H, W), values in [0, 1].

        Raises:
            ValueError: if ``image`` does not have four dimensions or ``in_channels`` channels.
        """
        fused = self.unbounded(image)
        lower, upper = self.bounds(image)
        return torch.minimum(torch.maximum(fused, lower), upper)

    @torch.jit.export
    def unbounded(self, image: Tensor) -> Tensor:
        """The fused image before it is clipped to :meth:`bounds`, (B, 1, H, W); for a loss on what is clipped."""
        if image.ndim != 4 or image.shape[1] != self.in_channels:
            raise ValueError(f"expected sources of shape (B, {self.in_channels}, H, W), got {list(image.shape)}")
        height, width = image.shape[2], image.shape[3]
        padding = [0, -width % self.side, 0, -height % self.side]
        rest = F.pad(image, padding, mode="replicate").contiguous(memory_format=torch.channels_last)
        bands: list[Tensor] = []
        kept: list[Tensor] = []
        features = rest[:, :0]
        for analyse in self.analysis:
            coarse = F.avg_pool2d(rest, 2)
            band = rest - _expanded(coarse, rest)
            bands.append(band)
            features = analyse(torch.cat([rest, 4 * band, features], dim=1)).relu()  # (B, width, H / 2^n, W / 2^n)
            kept.append(features)
            features, rest = F.avg_pool2d(features, 2), coarse
        features = self.base(torch.cat([rest, features], dim=1)).relu()
        whole = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
        features = self.base_in_context(features + self.context(whole)[:, :, None, None]).relu()
        tone = self.tone(features)  # (B, in_channels + 1, H / 2^levels, W / 2^levels)
        shares, offset = tone[:, : self.in_channels].sigmoid(), 0.5 * tone[:, self.in_channels :].tanh()
        fused = (shares * rest).sum(1, keepdim=True) + offset
        level = self.levels
        for synthesise, weigh in zip(self.synthesis, self.weights):  # noqa: B905 (TorchScript knows no strict)
            level -= 1
            band = bands[level]
            features = synthesise(torch.cat([kept[level], _expanded(features, band)], dim=1)).relu()
            weights = self.gain * weigh(features).sigmoid()  # (B, in_channels, H / 2^level, W / 2^level)
            fused = _expanded(fused, band) + (weights * band).sum(1, keepdim=True)
        return fused[:, :, :height, :width]

    def bounds(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest and the largest allowed value of the result, each (B, 1, H, W)."""
        ends = torch.cat([-image.amin(1, keepdim=True), image.amax(1, keepdim=True)], dim=1)
        ends = F.max_pool2d(F.max_pool2d(ends, (7, 1), 1, (3, 0)), (1, 7), 1, (0, 3))
        lower, upper = -ends[:, :1], ends[:, 1:]
        margin = self.margin * (4 * upper).clamp(max=1)
        return (lower - margin).clamp(min=0), (upper + margin).clamp(max=1)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)


def _expanded(image: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(image, size=[like.shape[2], like.shape[3]], mode="bilinear", align_corners=False)
