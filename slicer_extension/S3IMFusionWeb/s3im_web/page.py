"""The page: sources and settings at the left, the pictures beside them."""

from pathlib import Path

from monai_s3im.modalities import MODALITIES as TABLE
from monai_s3im.settings import DEFAULTS, choices_of, help_of
from trame.ui.vuetify3 import VAppLayout
from trame.widgets import html
from trame.widgets import vuetify3 as v
from trame_server import Server

from .viewing import ALL_PLANES, PLANES, FusionViews

SERVE = {"serve": {"s3im_web": str(Path(__file__).with_name("serve"))}, "scripts": ["s3im_web/page.js"]}
MODALITIES = [
    {"title": "guess", "value": None},
    *({"title": name.upper(), "value": name} for name, modality in TABLE.items() if modality.dicom),
    {"title": "other", "value": "generic"},
]
OWN_COLOURS = "of the modality"
CHOICES = {
    "reference": ("Grid of the result", [*choices_of("reference")]),
    "plane": ("Plane of the slices", [*choices_of("plane")]),
    "register": ("Register B onto A", [*choices_of("register")]),
    "window": ("Window of a CT", [*choices_of("window")]),
    "task": ("Weights for", [*choices_of("task")]),
    "color_map": ("Colour of PET and SPECT", [OWN_COLOURS, "magenta-gold", "inferno", "viridis", "turbo"]),
    "color_model": ("Colour model", [*choices_of("color_model")]),
}
RANGES = {"range_a": "Range of A: LOWER,UPPER", "range_b": "Range of B: LOWER,UPPER"}
NO_BAR = {"bar_colors": "", "bar_lower": "", "bar_upper": ""}
CLOSED = """<div style="font-family:sans-serif;background:#121212;color:#fff;min-height:100vh;padding:4em 1em">
<main style="max-width:32em;margin:auto"><h1>S3IMFusion</h1>
<p role="alert">The connection to the server is closed. The session may have ended: then its volumes are gone.</p>
<p><a href="/" style="color:#90caf9">Open the page again</a></p>
<p>Research use only. Not for diagnosis or treatment.</p></main></div>"""
STATE = {
    "trame__title": "S3IMFusion",
    "trame__favicon": "logo.png",
    "message": "",
    "note": "",
    "name_a": "",
    "name_b": "",
    "loading_a": False,
    "loading_b": False,
    "server_files": [],
    "choice_a": None,
    "choice_b": None,
    "modality_a": None,
    "modality_b": None,
    "reference": DEFAULTS.reference,
    "plane": DEFAULTS.plane,
    "register": DEFAULTS.register,
    "window": DEFAULTS.window,
    **dict.fromkeys(RANGES, ""),  # for None: by the modality
    "task": DEFAULTS.task,
    "color_map": OWN_COLOURS,
    "color_model": DEFAULTS.color_model,
    "gray": DEFAULTS.gray,
    "is_running": False,
    "progress": 0,
    "stage": "",
    "fused_name": "",
    "layout": ALL_PLANES,
    "fade": 0,
    **NO_BAR,
    "drawer": None,  # open on a wide screen, closed on a narrow one
    "trame__template_error": CLOSED,
    "trame__template_error_reconnect": CLOSED,
}


class Page:
    """Builds the page and binds it to the session's actions.

    Args:
        server: the trame server.
        views: the slice views.
        fuse: called to start a fusion.
        cancel: called to cancel it.
    """

    def __init__(self, server: Server, views: FusionViews, fuse: object, cancel: object) -> None:
        server.enable_module(SERVE)
        server.state.update(STATE)
        with VAppLayout(server) as layout:
            layout.root.theme = "dark"
            with v.VAppBar(density="compact"):
                v.VAppBarNavIcon(click="drawer = !drawer", raw_attrs=['aria-label="Sources and settings"'])
                v.VAppBarTitle("S3IMFusion", tag="h1")
                html.Span("Research use only. Not for diagnosis or treatment.", classes="text-caption mr-4 s3im-use")
            with v.VNavigationDrawer(v_model=("drawer",), width=330), html.Div(classes="pa-3"):
                _source("a", "A")
                _source("b", "B")
                _settings()
                _actions(fuse, cancel)
            with v.VMain(), html.Div(style="display:flex;flex-direction:column;height:calc(100vh - 48px)"):
                _looking(views)
                with html.Div(style="flex:1;min-height:0"):
                    views.layouts.initialize_layout_grid(layout)


def _source(side: str, title: str) -> None:
    html.Div(f"{title}: {{{{ name_{side} || 'no volume yet' }}}}", classes="text-subtitle-2 mb-1", id=f"name-{side}")
    v.VFileInput(
        label=f"Upload {title}",
        accept=".nii,.gz,.nrrd",
        loading=(f"loading_{side}",),
        disabled=("is_running",),
        change=f"utils.s3imUpload('{side}', $event.target)",
        density="compact",
        hide_details=True,
        prepend_icon="mdi-upload",
        classes="mb-1",
    )
    v.VAutocomplete(
        v_if=("server_files.length",),
        label=f"{title} from the server",
        items=("server_files",),
        v_model=(f"choice_{side}",),
        disabled=("is_running",),
        density="compact",
        hide_details=True,
        prepend_icon="mdi-folder-outline",
        classes="mb-1",
    )
    v.VSelect(
        label=f"Modality of {title}",
        items=(f"modalities_{side}", MODALITIES),
        v_model=(f"modality_{side}",),
        disabled=("is_running",),
        density="compact",
        hide_details=True,
        classes="mb-4",
    )


def _settings() -> None:
    with v.VExpansionPanels(classes="mb-3"), v.VExpansionPanel(title="Settings"), v.VExpansionPanelText(eager=True):
        for name, (label, items) in CHOICES.items():
            v.VSelect(
                label=label,
                items=(f"{name}_items", items),
                v_model=(name,),
                disabled=("is_running",),
                density="compact",
                hide_details=True,
                classes="mb-2",
            )
        for name, label in RANGES.items():
            v.VTextField(
                label=label,
                hint=help_of(name),
                v_model=(name,),
                disabled=("is_running",),
                density="compact",
                classes="mb-1",
            )
        v.VCheckbox(
            label="Without colour", v_model=("gray",), disabled=("is_running",), density="compact", hide_details=True
        )


def _actions(fuse: object, cancel: object) -> None:
    v.VBtn(
        "Fuse",
        click=fuse,
        disabled=("is_running || !name_a || !name_b",),
        color="primary",
        block=True,
        classes="text-black",
    )
    with html.Div(v_if=("is_running",), classes="mt-3"):
        v.VProgressLinear(model_value=("progress",), indeterminate=("progress === 0",), height=6, id="progress")
        html.Div("{{ stage }}", classes="text-caption my-1", id="stage")
        v.VBtn("Cancel", click=cancel, variant="outlined", block=True)
    v.VAlert("{{ message }}", v_if=("message",), type="error", density="compact", classes="mt-3", id="message")
    v.VAlert("{{ note }}", v_if=("note",), type="info", density="compact", classes="mt-3", id="note")
    with html.Div(v_if=("fused_name",), classes="mt-3"):
        html.Div("{{ fused_name }}", classes="text-subtitle-2 mb-1", id="fused-name")
        for title, kind in (("Save NRRD", "nrrd"), ("Save NIfTI", "nii.gz"), ("Save record", "json")):
            v.VBtn(
                title,
                href=f"download/{kind}",
                raw_attrs=["download"],  # a plain link would leave the page
                prepend_icon="mdi-download",
                block=True,
                classes="mb-2",
            )


def _looking(views: FusionViews) -> None:
    with html.Div(classes="d-flex flex-wrap align-center px-3", style="min-height:48px"):
        with v.VBtnToggle(v_model=("layout",), mandatory=True, density="compact", classes="mr-4"):
            for name in (ALL_PLANES, *PLANES):
                v.VBtn(name, value=name, size="small")
        v.VBtn("Fit", click=views.fit, size="small", variant="text")
        with html.Div(v_if=("bar_colors",), classes="d-flex align-center ml-4 text-caption", id="color-bar"):
            html.Span("{{ bar_lower }}", classes="mr-2")
            html.Div(style=("`width:160px;height:14px;background:linear-gradient(to right, ${bar_colors})`",))
            html.Span("{{ bar_upper }}", classes="ml-2")
        v.VSpacer()
        html.Span("A", classes="mr-2")
        v.VSlider(
            v_model=("fade",),
            min=-1,
            max=1,
            step=0.05,
            disabled=("!fused_name",),
            hide_details=True,
            density="compact",
            style="min-width:100px;max-width:280px",
            name="Fade from A over fused to B",
        )
        html.Span("B", classes="ml-2")
