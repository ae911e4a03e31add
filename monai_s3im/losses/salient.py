"""What the published loss lacks: terms that keep the brighter source and the direction of edges."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_s3im.functional import sobel_gradient

from .base import check_and_promote
from .fusion import GaussianSSIMLoss, _WeightedSum
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
    """What the fused image lacks of a share of the brightest source: ``mean m max(0, s m - I_f)``, ``m = max_i I_i``.

    It leaves alone what is bright enough, so that it stops the centre of thick bone and the hot spot of an uptake from
    sinking without drawing all else to the maximum.

    Args:
        share: s, in (0, 1].
    """

    def __init__(self, share: float = 0.9) -> None:
        super().__init__()
        self.share = share

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
            return (brightest * (self.share * brightest - fused).relu()).mean()


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
            shares_fused, shares = self._shares(fused), self._shares(sources)  # (B, 1 or N, H W, bins)
            joint = shares.transpose(2, 3) @ shares_fused / shares.shape[2]  # (B, N, bins of I_i, bins of I_f)
            of_fused = joint.sum(dim=2, keepdim=True)
            return (_negative_entropy(of_fused) - _negative_entropy(joint)).mean()

    def _shares(self, image: Tensor) -> Tensor:
        centres = torch.linspace(0, 1, self.bins, dtype=image.dtype, device=image.device)
        values = image.clamp(0, 1).flatten(2)[..., None]
        return (1 - (self.bins - 1) * (values - centres).abs()).relu()


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
            Scalar in (0, 1), about 0.02 when every source equals the fused image and has edges.

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
        information: weight of :class:`ConditionalEntropyLoss`.
        ssim: weight of :class:`GaussianSSIMLoss`.
        edge: weight of :class:`EdgePreservationLoss`.
        gradient_gain: gain of the gradient transfer.
        draws: M of Eq. (5).
        patch_size: side in pixels of the rearranged image of Eq. (5).
        generator: makes the draws of Eq. (5) reproducible.
    """

    def __init__(
        self,
        s3im: float = 3.0,
        gradient: float = 20.0,
        intensity: float = 6.0,
        floor: float = 15.0,
        floor_share: float = 0.9,
        information: float = 1.6,
        ssim: float = 4.0,
        edge: float = 6.0,
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
                "floor": SalientFloorLoss(floor_share),
                "information": ConditionalEntropyLoss(),
                "ssim": GaussianSSIMLoss(),
                "edge": EdgePreservationLoss(),
            },
            {
                "s3im": s3im,
                "gradient": gradient,
                "intensity": intensity,
                "floor": floor,
                "information": information,
                "ssim": ssim,
                "edge": edge,
            },
        )
