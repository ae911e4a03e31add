import colorsys

import matplotlib as mpl
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_s3im.errors import InputError
from monai_s3im.functional import hue_arc, plane_colors, uptake_colors
from monai_s3im.transforms import ARCS, ColorMap, ColorMapd, in_color
from monai_s3im.transforms.color_map import colors_by, map_colors
from monai_s3im.transforms.notes import COLOR_BAR, WARNINGS, noted

BRIGHTENING = ["afmhot", "inferno", "magma", "cubehelix", "gray"]
HUE_ONLY = ["hot", "viridis", "jet", "rainbow", "nipy_spectral", "gray_r", "hsv"]
LUMA = np.array([0.299, 0.587, 0.114])
UPTAKE = np.arange(256) / 255


def colors_of(name, uptake=UPTAKE):
    """(entries, 3)."""
    return ColorMap(name)(MetaTensor(torch.tensor(uptake).float().view(1, -1, 1)))[:, :, 0].numpy().T


def matplotlib_s(name):
    return mpl.colormaps[name](np.arange(256))[:, :3]


def chroma(rgb):
    """The part of RGB beyond its luma."""
    return rgb - (rgb @ LUMA)[:, None]


def write_lut(path, rgb, separator=" "):
    path.write_text("\n".join(separator.join(f"{value:g}" for value in row) for row in rgb))
    return path


@pytest.mark.parametrize("name", BRIGHTENING)
def test_a_map_that_brightens_from_black_is_matplotlib_s_above_a_quarter(name):
    np.testing.assert_allclose(colors_of(name)[64:], matplotlib_s(name)[64:], rtol=0, atol=1e-6)
    np.testing.assert_allclose(colors_of(name) @ LUMA, matplotlib_s(name) @ LUMA, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", HUE_ONLY)
def test_other_maps_have_the_uptake_as_luma_and_their_own_chrominance_above_a_quarter(name):
    np.testing.assert_allclose(colors_of(name) @ LUMA, UPTAKE, rtol=0, atol=1e-6)
    np.testing.assert_allclose(chroma(colors_of(name))[64:], chroma(matplotlib_s(name))[64:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", BRIGHTENING + HUE_ONLY)
def test_no_uptake_is_black_and_luma_never_falls(name):
    colors = colors_of(name)
    np.testing.assert_allclose(colors[0], 0, rtol=0, atol=0.0025)  # magma and inferno start at 0.0018
    assert np.ptp(colors[0]) < 1e-6
    assert (np.diff(colors @ LUMA) > -1e-6).all()


@pytest.mark.parametrize(("uptake", "weight"), [(0.0625, 0.15625), (0.125, 0.5), (0.1875, 0.84375), (0.25, 1.0)])
def test_colour_fades_in_with_the_smooth_step(tmp_path, uptake, weight):
    """t = 1/4, 1/2, 3/4, 1: 3 t^2 - 2 t^3; a file of 4097 like rows has an entry at each."""
    lut = write_lut(tmp_path / "violet.lut", [(255, 0, 255)] * 4097)
    full = np.array([1, 0, 1]) - 0.413
    np.testing.assert_allclose(colors_of(str(lut), [uptake])[0], uptake + weight * full, rtol=0, atol=1e-6)


def test_hottest_uptake_of_jet_is_red_and_middling_is_green():
    hues = [colorsys.rgb_to_hsv(*color.clip(0, 1))[0] for color in colors_of("jet", [0.5, 0.9])]
    assert 0.2 < hues[0] < 0.5
    assert min(hues[1], 1 - hues[1]) < 0.08


def test_values_between_entries_are_interpolated_and_beyond_them_clipped():
    table = matplotlib_s("afmhot")
    expected = np.stack([(table[100] + table[101]) / 2, table[0], table[255]])
    np.testing.assert_allclose(colors_of("afmhot", [100.5 / 255, -1.0, 2.0]), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("separator", [" ", "\t", ", ", ";"])
def test_a_file_is_the_map_of_its_rows_and_gives_the_hue_alone(tmp_path, separator):
    lut = write_lut(tmp_path / "jet.txt", 255 * matplotlib_s("jet"), separator)
    np.testing.assert_allclose(colors_of(str(lut)), colors_of("jet"), rtol=0, atol=1e-5)


@pytest.mark.parametrize("first", ["# a map\n", "Red,Green,Blue\n", "\ufeff"])
def test_what_stands_above_the_rows_of_a_file_is_left_out(tmp_path, first):
    lut = write_lut(tmp_path / "jet.txt", 255 * matplotlib_s("jet"), ",")
    lut.write_text(first + lut.read_text(), encoding="utf-8")
    np.testing.assert_allclose(colors_of(str(lut)), colors_of("jet"), rtol=0, atol=1e-5)


def test_a_file_of_rows_from_0_to_1_is_the_same_map_as_one_from_0_to_255(tmp_path):
    by_byte = write_lut(tmp_path / "byte.txt", 255 * matplotlib_s("hot"), " ")
    by_unit = write_lut(tmp_path / "unit.cmap", matplotlib_s("hot"), " ")
    np.testing.assert_allclose(colors_of(str(by_unit)), colors_of(str(by_byte)), rtol=0, atol=1e-5)
    assert np.ptp(colors_of(str(by_unit)), axis=-1).max() > 0.5


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("short.lut", b"0 0 0\n" * 255, r"short.lut has a table of shape \(255, 3\): give a text file of 256 or more"),
        ("alpha.lut", b"0 0 0 0\n" * 256, r"alpha.lut has a table of shape \(256, 4\)"),
        ("ragged.lut", b"0 0 0\n1 2\n" * 256, "ragged.lut is not a colour map"),
        ("words.lut", b"red green blue\n" * 256, "words.lut is not a colour map"),
        ("table.npy", b"\x93NUMPY\x01\x00\xff\xfe" * 300, "table.npy is not a colour map"),
        ("empty.lut", b"", "empty.lut has a table of shape"),
        ("bright.lut", b"0 0 256\n" * 256, "bright.lut has values outside 0 to 255"),
        ("dark.lut", b"0 0 -1\n" * 256, "dark.lut has values outside 0 to 255"),
        ("nan.lut", b"0 0 nan\n" * 256, "nan.lut has values outside 0 to 255"),
    ],
)
def test_unusable_files_are_refused_by_name(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        ColorMap(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "words"), [("virids", "such as viridis"), ("missing.lut", "such as magenta-gold, inferno")]
)
def test_an_unknown_map_is_refused_with_names_like_it(name, words):
    with pytest.raises(InputError, match=f"unknown colour map '{name}': use one from matplotlib, {words}"):
        ColorMapd("image", name)


def test_an_unknown_model_is_refused():
    with pytest.raises(InputError, match="unknown colour model 'rgb': use one of lab, ycbcr"):
        ColorMapd("image", color_model="rgb")


def test_another_source_of_colour_is_refused():
    with pytest.raises(InputError, match="color is 'a': use one of auto, b"):
        ColorMapd("image", color="a")


def image_of(modality, *shape):
    return MetaTensor(torch.rand(*shape), meta={"modality": modality})


@pytest.mark.parametrize("color_map", [None, "jet"])
@pytest.mark.parametrize(
    ("modality", "shape", "channels"),
    [
        ("pet", (1, 4, 4, 4), 3),
        ("spect", (1, 4, 4, 4), 3),
        ("pet", (3, 4, 4, 4), 3),
        ("pet", (1, 4, 4), 1),
        ("mr", (1, 4, 4, 4), 1),
        ("ct", (1, 4, 4, 4), 1),
    ],
)
def test_scalar_volumes_of_uptake_are_coloured_and_nothing_else(modality, shape, channels, color_map):
    image = image_of(modality, *shape)
    result = ColorMapd("image", color_map)({"image": image})["image"]
    assert torch.equal(result.as_tensor(), image.as_tensor())
    assert in_color(result).shape == (channels, *shape[1:])
    if channels == shape[0]:
        assert result is in_color(result) is image
    else:
        arc = ARCS["magenta-gold"] if color_map is None else hue_arc(map_colors(color_map))
        expected = plane_colors(uptake_colors(arc)[1], image.as_tensor(), image.as_tensor())
        assert torch.equal(in_color(result).as_tensor(), expected)
        by_chrominance = ColorMapd("image", color_map, "ycbcr")({"image": image})["image"]
        expected = ColorMap(color_map or "magenta-gold")(image).as_tensor()
        assert torch.equal(in_color(by_chrominance).as_tensor(), expected)


UNIT = {"modality": "pet", "intensity_range": (0.0, 7.5), "unit": "SUV (body weight)"}


def noted_bar(meta=UNIT, **settings):
    result = ColorMapd("image", **settings)({"image": MetaTensor(torch.rand(1, 4, 4, 4), meta=dict(meta))})
    return noted(result, COLOR_BAR), noted(result, WARNINGS)


def test_the_colour_bar_is_noted_with_range_and_unit():
    bar, warnings = noted_bar()
    assert (bar["range"], bar["unit"], warnings) == ([0.0, 7.5], "SUV", [])
    expected = (255 * uptake_colors(ARCS["magenta-gold"])[0]).round().T
    assert torch.equal(torch.tensor(bar["colors"], dtype=torch.float32), expected)
    assert noted_bar({"modality": "spect"})[0]["unit"] is None
    assert noted_bar({"modality": "mr"})[0] == {}


def test_the_bar_of_ycbcr_has_the_colours_of_the_map():
    bar, warnings = noted_bar(color_map="jet", color_model="ycbcr")
    np.testing.assert_allclose(np.array(bar["colors"]) / 255, colors_of("jet").clip(0, 1), rtol=0, atol=0.002)
    assert len(warnings) == 1
    assert warnings[0].startswith("with the colour model ycbcr, uptake and anatomy share the brightness")


def test_a_map_that_is_not_fit_is_drawn_by_its_chrominance_with_a_warning(caplog):
    bar, warnings = noted_bar(color_map="gray")
    assert len(warnings) == 1
    assert warnings[0].startswith("the colour map gray is unsuitable for fusion")
    assert warnings[0] in caplog.text
    assert bar["colors"] == noted_bar(color_map="gray", color_model="ycbcr")[0]["colors"]
    assert noted_bar(color_map="hot")[1] == []


@pytest.mark.parametrize("name", ["viridis", "turbo", "jet"])
def test_a_map_whose_hues_change_the_lightness_is_drawn_with_a_warning(name):
    bar, warnings = noted_bar(color_map=name)
    assert [warning.split(":")[0] for warning in warnings] == [f"the colour map {name} hides anatomy"]
    assert bar["colors"] == (255 * colors_by(name, "lab").bar).round().int().T.tolist()


@pytest.mark.parametrize("name", ["magenta-gold", "plasma", "inferno"])
def test_a_map_that_a_warning_names_is_fit_itself(name):
    assert noted_bar(color_map=name)[1] == []
    assert name in noted_bar(color_map="gray")[1][0]


def test_two_sources_of_uptake_are_coloured_by_chrominance_and_have_no_bar():
    """One hue cannot show two uptakes."""
    data = {"image_a": image_of("pet", 1, 4, 4, 4), "image_b": image_of("spect", 1, 4, 4, 4)}
    result = ColorMapd(["image_a", "image_b"])(data)
    assert all(result[key].meta["color_table"].ndim == 2 for key in data)
    assert noted(result, COLOR_BAR) == {}


@pytest.mark.parametrize("shape", [(1, 4, 4, 4), (1, 4, 4)])
@pytest.mark.parametrize(
    "modalities", [("mr", "mr"), ("mr", "ct"), ("pet", "mr"), ("mr", "pet"), ("generic", "generic")]
)
def test_color_b_colours_the_second_source_alone_whatever_it_is(modalities, shape):
    data = {key: image_of(name, *shape) for key, name in zip(("image_a", "image_b"), modalities, strict=True)}
    data["image_b"].meta.update(intensity_range=(3.0, 9.0), unit="s")
    result = ColorMapd(["image_a", "image_b"], color="b")(data)
    assert result["image_a"] is data["image_a"]
    uptake = data["image_b"].as_tensor()
    expected = plane_colors(uptake_colors(ARCS["magenta-gold"])[1], uptake, uptake)
    assert torch.equal(in_color(result["image_b"]).as_tensor(), expected)
    bar = noted(result, COLOR_BAR)
    assert (bar["range"], bar["unit"]) == ([3.0, 9.0], "s")


@pytest.mark.parametrize("colored", ["image_a", "image_b"])
def test_color_b_refuses_a_source_with_colours_of_its_own_by_name(colored):
    data = {key: image_of("mr", 3 if key == colored else 1, 4, 4) for key in ("image_a", "image_b")}
    data[colored].meta["filename_or_obj"] = "scan.png"
    with pytest.raises(InputError, match=r"^scan\.png already has colours, .* leave color at auto$"):
        ColorMapd(["image_a", "image_b"], color="b")(data)
