"""The parameter node: every choice of the user, typed and saved with the scene. Fields and widgets share names.

The first member of each enumeration is its default.
"""

from enum import Enum
from typing import Annotated, Any, get_type_hints

from slicer import vtkMRMLScalarVolumeNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from .i18n import _
from .settings import FusionSettings


class Reference(Enum):
    """The grid of the fused volume."""

    A = "a"
    B = "b"
    FINER = "finer"

    def label(self) -> str:
        """The label for the user."""
        return {"a": _("Image A"), "b": _("Image B"), "finer": _("The finer one")}[self.value]


class Plane(Enum):
    """Plane of the network's slices."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"
    IN_PLANE = "in-plane"

    def label(self) -> str:
        """The label for the user."""
        return {
            "axial": _("Axial"),
            "coronal": _("Coronal"),
            "sagittal": _("Sagittal"),
            "in-plane": _("As acquired"),
        }[self.value]


class Modality(Enum):
    """The modality of a volume."""

    GUESS = None
    CT = "ct"
    MR = "mr"
    PET = "pet"
    SPECT = "spect"
    ULTRASOUND = "us"
    DOSE = "dose"
    GENERIC = "generic"

    def label(self) -> str:
        """The label for the user."""
        names = {None: _("Recognise"), "us": _("Ultrasound"), "dose": _("Dose"), "generic": _("Other")}
        return names.get(self.value) or self.name


class Registration(Enum):
    """The registration of B to A."""

    NONE = "none"
    RIGID = "rigid"
    AFFINE = "affine"

    def label(self) -> str:
        """The label for the user."""
        return {"none": _("No: already registered"), "rigid": _("Rigid"), "affine": _("Affine")}[self.value]


class Window(Enum):
    """The range of a CT."""

    AUTO = "auto"
    BRAIN = "brain"
    SOFT_TISSUE = "soft_tissue"
    BONE = "bone"
    FULL = "full"
    BRAIN_BONE = "brain+bone"
    DISPLAY = "display"

    def label(self) -> str:
        """The label for the user."""
        return {
            "auto": _("By content (head or body)"),
            "brain": _("Brain (0 to 80 HU)"),
            "soft_tissue": _("Soft tissue (-160 to 240 HU)"),
            "bone": _("Bone (-450 to 1050 HU)"),
            "full": _("All (-1000 to 2000 HU)"),
            "brain+bone": _("Brain and bone (0 to 1000 HU), bone compressed"),
            "display": _("As displayed"),
        }[self.value]


class ColorMap(Enum):
    """The colours of a PET or SPECT."""

    USUAL = None
    MAGENTA_GOLD = "magenta-gold"
    AFMHOT = "afmhot"
    HOT = "hot"
    INFERNO = "inferno"
    MAGMA = "magma"
    VIRIDIS = "viridis"
    TURBO = "turbo"
    JET = "jet"

    def label(self) -> str:
        """The label for the user."""
        return self.value or _("As displayed, or by modality")


class Color(Enum):
    """What the colour of a fused volume shows."""

    AUTO = "auto"
    B = "b"

    def label(self) -> str:
        """The label for the user."""
        return {"auto": _("Uptake of a PET or SPECT"), "b": _("Volume B, whatever it is")}[self.value]


class ColorModel(Enum):
    """How a fused volume shows PET or SPECT uptake."""

    LAB = "lab"
    YCBCR = "ycbcr"

    def label(self) -> str:
        """The label for the user."""
        return {"lab": _("Hue for uptake, brightness for anatomy"), "ycbcr": _("YCbCr, as published")}[self.value]


class Task(Enum):
    """Which weights fuse the volumes."""

    AUTO = "auto"
    CT_MRI = "ct-mri"
    SPECT_PET_MRI = "spect-pet-mri"
    MEDICAL = "medical"
    INFRARED_VISIBLE = "infrared-visible"
    FIGURE_2 = "figure-2"

    def label(self) -> str:
        """The label for the user."""
        names = {
            "auto": _("By modality"),
            "ct-mri": _("CT and MR"),
            "spect-pet-mri": _("SPECT or PET and MR"),
            "medical": _("Any medical images"),
            "infrared-visible": _("Infrared and visible light"),
            "figure-2": _("The network of the paper"),
        }
        return names[self.value]


@parameterNodeWrapper
class FusionParameters:
    """The user's choices, with the names of :class:`FusionSettings`."""

    source_a: vtkMRMLScalarVolumeNode
    source_b: vtkMRMLScalarVolumeNode
    fused: vtkMRMLScalarVolumeNode
    all_frames: bool = False
    fade: Annotated[float, WithinRange(-100, 100)] = 0.0
    checkerboard: bool = False
    modality_a: Modality = Modality.GUESS
    modality_b: Modality = Modality.GUESS
    reference: Reference = Reference.A
    register: Registration = Registration.NONE
    plane: Plane = Plane.AXIAL
    window: Window = Window.AUTO
    range_a: str = ""
    range_b: str = ""
    color: Color = Color.AUTO
    color_map: ColorMap = ColorMap.USUAL
    color_model: ColorModel = ColorModel.LAB
    gray: bool = False
    device: str = "auto"
    slice_batch: Annotated[int, WithinRange(1, 64)] = 8
    task: Task = Task.AUTO
    weights: str = ""


def set_back_unknown_choices(node: Any) -> list[str]:
    """Reset choices unknown to this version to their defaults; scenes of newer versions may contain some.

    Slicer's parameter node wrapper fails on them.

    Args:
        node: the node for :class:`FusionParameters`.

    Returns:
        The names of the fields that were reset.
    """
    kinds = {name: kind for name, kind in get_type_hints(FusionParameters).items() if issubclass(kind, Enum)}
    saved = {name: node.GetParameter(name) for name in kinds if node.HasParameter(name)}
    unknown = [name for name, text in saved.items() if text not in kinds[name].__members__]
    for name in unknown:
        node.SetParameter(name, next(iter(kinds[name])).name)
    return unknown


def fusion_settings(parameters: FusionParameters) -> FusionSettings:
    """The settings of a run, from the parameter node."""
    return FusionSettings(
        reference=parameters.reference.value,
        plane=parameters.plane.value,
        modality_a=parameters.modality_a.value,
        modality_b=parameters.modality_b.value,
        register=parameters.register.value,
        window=parameters.window.value,
        range_a=parameters.range_a.strip() or None,
        range_b=parameters.range_b.strip() or None,
        color=parameters.color.value,
        color_map=parameters.color_map.value,
        color_model=parameters.color_model.value,
        gray=parameters.gray,
        device=parameters.device,
        slice_batch=parameters.slice_batch,
        task=parameters.task.value,
        weights=parameters.weights or None,
    )
