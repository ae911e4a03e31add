"""What the published loss lacks: terms that keep the brighter source and the direction of edges."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_s3im.functional import sobel_gradient

from .base import check_and_promote
from .fusion import GaussianSSIMLoss, _WeightedSum
from .smooth import SmoothLoss
from .stochastic_ssim import StochasticSSIMLoss


class SalientIntensityLoss(nn.Module):
    """Mean absolute difference to the brightest source at each pixel, ``mean |max_i I_i - I_f|``.

    Eq. (7) draws the fused image to the mean of its sources, which makes saturated bone gray; this keeps it bright.
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: I_f, (B, 1, H, W), values in [0, 1].
            sources: I_i, (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, 1]; 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            return F.l1_loss(fused, sources.amax(dim=1, keepdim=True))


class SalientFloorLoss(nn.Module):
    """What the fused image lacks of a share of the brightest source: ``mean m^p max(0, s m - I_f)``, ``m = max_i I_i``.

    It leaves alone what is bright enough, so that it stops the centre of thick bone and the hot spot of an uptake from
    sinking without drawing all else to the maximum.

    Args:
        share: s, in (0, 1].
        power: p, the greater the less does all count that is not nearly white.
    """

    def __init__(self, share: float = 0.9, power: float = 1.0) -> None:
        super().__init__()
        self.share = share
        self.power = power

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, 1]; 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            brightest = sources.amax(dim=1, keepdim=True)
            return (brightest**self.power * (self.share * brightest - fused).relu()).mean()


class ConditionalEntropyLoss(nn.Module):
    """What the fused image leaves unsaid of its sources, ``mean_i H(I_i | I_f)`` in nats.

    ``H(I_i | I_f) = H(I_i) - I(I_i; I_f)``, and the first term does not depend on the fused image: it falls as the
    mutual information (the metric MI) rises. The joint histogram of each image pair shares a pixel among the two
    nearest bins by distance, which makes it differentiable.

    Args:
        bins: of each axis of the histogram, their centres from 0 to 1.
    """

    def __init__(self, bins: int = 32) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1]; values outside count as the nearer end.
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, ln bins]; 0 when every source equals the fused image and all values are bin centres.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            shares_fused = _bin_shares(fused.flatten(2), self.bins)  # (B, 1, H W, bins)
            shares = _bin_shares(sources.flatten(2), self.bins)  # (B, N, H W, bins)
            joint = shares.transpose(2, 3) @ shares_fused / shares.shape[2]  # (B, N, bins of I_i, bins of I_f)
            of_fused = joint.sum(dim=2, keepdim=True)
            return (_negative_entropy(of_fused) - _negative_entropy(joint)).mean()


class ContentEntropyLoss(nn.Module):
    """What the fused image's gray levels lack of being evenly used, ``c (ln bins - H(I_f))`` in nats.

    The histogram (and with it the entropy H, the metric EN) is that of the content, the pixels where a source is above
    the background; c is the share of such pixels. Noise in the black would raise EN as well, and earns nothing here.

    Args:
        bins: of the histogram, their centres from 0 to 1.
        background: values up to it, in all sources, are background.
    """

    def __init__(self, bins: int = 64, background: float = 5 / 255) -> None:
        super().__init__()
        self.bins = bins
        self.background = background

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1]; values outside count as the nearer end.
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in [0, ln bins]; 0 without content, or when the fused image uses all bins alike there.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            content = (sources.amax(dim=1) > self.background).to(fused.dtype).flatten(1)[:, None]  # (B, 1, H W)
            counts = content @ _bin_shares(fused.flatten(2), self.bins)[:, 0]  # (B, 1, bins)
            pixels = content.sum(2, keepdim=True)
            missing = math.log(self.bins) + _negative_entropy(counts[:, None] / pixels[:, None].clamp(min=1))
            return (content.mean((1, 2)) * missing[:, 0]).mean()


class DifferenceCorrelationLoss(nn.Module):
    """One minus the correlation of what a source has added with that source, ``mean_i (1 - r(I_f - sum_j I_j, I_i))``.

    The sum is that of the other sources. With two it is the metric SCD: ``1 - SCD / 2``. Each variance is taken with
    1e-4 added, so that a source without contrast has a correlation of 0 and a gradient that stays bounded.

    References:
        Aslantas and Bendes 2015, https://doi.org/10.1016/j.aeue.2015.09.004
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in (0, 2); 1 when the differences tell nothing of the sources.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            added = (fused + sources - sources.sum(dim=1, keepdim=True)).flatten(2)  # (B, N, H W)
            added = added - added.mean(2, keepdim=True)
            deviations = sources.flatten(2)
            deviations = deviations - deviations.mean(2, keepdim=True)
            variances = (added.square().mean(2) + 1e-4) * (deviations.square().mean(2) + 1e-4)
            return 1 - ((added * deviations).mean(2) / variances.sqrt()).mean()


def _bin_shares(values: Tensor, bins: int) -> Tensor:
    """Each value shared among the two nearest of the bins centred from 0 to 1, (..., bins)."""
    centres = torch.linspace(0, 1, bins, dtype=values.dtype, device=values.device)
    return (1 - (bins - 1) * (values.clamp(0, 1)[..., None] - centres).abs()).relu()


def _negative_entropy(histogram: Tensor) -> Tensor:
    """``sum p ln p`` over the last two dimensions, with a finite gradient where p = 0."""
    return (histogram * histogram.clamp_min(1e-30).log()).sum((2, 3))


class GradientTransferLoss(nn.Module):
    """Mean absolute difference of the Sobel gradient vector to that of the source with the strongest edge.

    ``mean (|gx_f - g gx_s| + |gy_f - g gy_s|)``, s the source of the largest ``gx² + gy²`` at each pixel. Eq. (6)
    compares strengths alone; here the direction of an edge counts too, and with it the sign of its contrast.

    Args:
        gain: g, a little above 1 makes up for the contrast that a fit by absolute differences loses.
    """

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar >= 0; with a gain of 1, 0 when every source equals the fused image.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            gradients = sobel_gradient(sources)  # (2, B, N, H, W)
            strongest = gradients.square().sum(0).argmax(dim=1, keepdim=True)  # (B, 1, H, W)
            target = gradients.gather(2, strongest[None].expand(2, *strongest.shape))
            return (sobel_gradient(fused) - self.gain * target).abs().sum(0).mean()


class EdgePreservationLoss(nn.Module):
    """One minus a differentiable form of the edge preservation of Xydeas and Petrovic (the metric Qabf).

    Strength ratio and alignment of the fused image's Sobel gradient to each source's go through the metric's two
    sigmoids; the sources' edge strengths weigh the mean. Unlike the metric, the border is replicated, strengths are
    ``sqrt(gx² + gy² + 1)`` on the 0..255 scale, which is smooth at 0, and alignment is taken from the angle between the
    gradients.

    References:
        Xydeas and Petrovic 2000, https://doi.org/10.1049/el:20000267
    """

    def forward(self, fused: Tensor, sources: Tensor) -> Tensor:
        """Score the fused image.

        Args:
            fused: (B, 1, H, W), values in [0, 1].
            sources: (B, N, H, W), values in [0, 1], N >= 2.

        Returns:
            Scalar in (0, 1]. When every source equals the fused image about 0.03 if there are edges everywhere, more
            the fewer there are, and 1 if it is flat.

        Raises:
            ValueError: if the shapes do not belong together.
        """
        fused, sources = check_and_promote(fused, sources)
        with torch.autocast(fused.device.type, enabled=False):
            of_fused, of_sources = 255 * sobel_gradient(fused), 255 * sobel_gradient(sources)  # (2, B, 1 or N, H, W)
            strength_fused = (of_fused.square().sum(0) + 1).sqrt()
            strength = (of_sources.square().sum(0) + 1).sqrt()  # (B, N, H, W)
            ratio = torch.minimum(strength_fused / strength, strength / strength_fused)
            cosine = ((of_fused * of_sources).sum(0).abs() / (strength_fused * strength)).clamp(max=1 - 1e-4)
            alignment = 1 - torch.acos(cosine) * (2 / torch.pi)
            kept = 0.9994 * torch.sigmoid(15 * (ratio - 0.5)) * 0.9879 * torch.sigmoid(22 * (alignment - 0.8))
            return 1 - ((kept * strength).sum((1, 2, 3)) / strength.sum((1, 2, 3))).mean()


class SalientFusionLoss(_WeightedSum):
    """The loss of the second recipe: what it weighs stands with each argument.

    Args:
        s3im: weight of Eq. (5).
        gradient: weight of :class:`GradientTransferLoss`.
        intensity: weight of :class:`SalientIntensityLoss`.
        floor: weight of :class:`SalientFloorLoss`.
        floor_share: share of the brightest source that it keeps.
        floor_power: power of the brightest source that weighs it.
        information: weight of :class:`ConditionalEntropyLoss`.
        ssim: weight of :class:`GaussianSSIMLoss`.
        edge: weight of :class:`EdgePreservationLoss`.
        smooth: weight of Eq. (7), :class:`SmoothLoss`.
        entropy: weight of :class:`ContentEntropyLoss`.
        difference: weight of :class:`DifferenceCorrelationLoss`.
        gradient_gain: gain of the gradient transfer.
        draws: M of Eq. (5).
        patch_size: side in pixels of the rearranged image of Eq. (5).
        generator: makes the draws of Eq. (5) reproducible.

    Raises:
        ValueError: if all weights are 0.
    """

    def __init__(
        self,
        s3im: float = 3.0,
        gradient: float = 20.0,
        intensity: float = 6.0,
        floor: float = 15.0,
        floor_share: float = 0.9,
        floor_power: float = 1.0,
        information: float = 1.6,
        ssim: float = 4.0,
        edge: float = 6.0,
        smooth: float = 0.0,
        entropy: float = 0.0,
        difference: float = 0.0,
        gradient_gain: float = 1.08,
        draws: int = 10,
        patch_size: int = 64,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            {
                "s3im": StochasticSSIMLoss(draws, patch_size, generator=generator),
                "gradient": GradientTransferLoss(gradient_gain),
                "intensity": SalientIntensityLoss(),
                "floor": SalientFloorLoss(floor_share, floor_power),
                "information": ConditionalEntropyLoss(),
                "ssim": GaussianSSIMLoss(),
                "edge": EdgePreservationLoss(),
                "smooth": SmoothLoss(),
                "entropy": ContentEntropyLoss(),
                "difference": DifferenceCorrelationLoss(),
            },
            {
                "s3im": s3im,
                "gradient": gradient,
                "intensity": intensity,
                "floor": floor,
                "information": information,
                "ssim": ssim,
                "edge": edge,
                "smooth": smooth,
                "entropy": entropy,
                "difference": difference,
            },
        )
