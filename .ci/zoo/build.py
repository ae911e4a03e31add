"""Assemble the bundle for MONAI's model zoo, of the size that the zoo's bundles have.

    python .ci/zoo/build.py FOLDER     # writes FOLDER/models/brain_image_fusion and FOLDER/ci/unit_tests; seconds

FOLDER is an empty one, or a checkout of Project-MONAI/model-zoo. Pictures and NIfTI volumes are read and written by
MONAI; the network, the losses, the metrics and what training needs are taken from the package, module by module, into
few files. All else (DICOM, registration, batches, reports) stays in the package.
"""

import argparse
import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

ZOO = Path(__file__).resolve().parent
ROOT = ZOO.parents[1]
NAME = "brain_image_fusion"
LICENSE = """# Copyright (c) the S3IMFusion developers
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""
ALL: tuple[str, ...] = ()
SCRIPTS: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "network": (
        "The network of S3IMFusion, Fig. 2, and its blocks.",
        {
            "networks/blocks/recording": ALL,
            "networks/blocks/salient": ALL,
            "networks/blocks/complementary_detail": ALL,
            "networks/blocks/global_correlation": ALL,
            "networks/blocks/fusion_rules": ("WeightedBranchFusion",),
            "networks/nets/s3im_fusion": ALL,
        },
    ),
    "losses": (
        "The loss of S3IMFusion, Eq. (4) to (8).",
        {
            "functional/ssim": ALL,
            "functional/shuffle": ALL,
            "functional/gradient": ALL,
            "losses/base": ALL,
            "losses/weighted_sum": ALL,
            "losses/detail_texture": ALL,
            "losses/smooth": ALL,
            "losses/stochastic_ssim": ALL,
            "losses/fusion": ("S3IMFusionLoss",),
        },
    ),
    "metrics": (
        "Fusion metrics: how much of the sources the fused image keeps.",
        {
            "metrics/base": ("prepare_pair", "check_shapes", "_to_gray_levels", "_OF_EACH_IMAGE", "FusionMetric"),
            "metrics/qabf": ALL,
            "metrics/structural_similarity": ALL,
        },
    ),
    "engine": (
        "Slices of a volume, one for training and all for fusing, and the batch of a training without labels.",
        {
            "errors": ("InputError",),
            "inferers/one_way": ALL,
            "inferers/slice_wise": ALL,
            "transforms/slices": ("RandSliced",),
            "training/prepare_batch": ALL,
        },
    ),
}


def assemble(folder: Path) -> Path:
    """Write the bundle and its unit test, replacing earlier ones."""
    bundle = folder / "models" / NAME
    shutil.rmtree(bundle, ignore_errors=True)
    for part in ("configs", "docs"):
        shutil.copytree(ZOO / part, bundle / part)
    shutil.copy(ROOT / "LICENSE", bundle)
    shutil.copy(ROOT / "bundle" / "configs" / "logging.conf", bundle / "configs")
    (bundle / "models").mkdir()
    shutil.copy(ROOT / "bundle" / "models" / "model.pt", bundle / "models")
    _write_metadata(bundle / "configs" / "metadata.json")
    scripts = bundle / "scripts"
    scripts.mkdir()
    (scripts / "__init__.py").write_text(LICENSE.rstrip("\n") + "\n", encoding="utf-8")
    for name, (description, modules) in SCRIPTS.items():
        (scripts / f"{name}.py").write_text(_merged(description, modules), encoding="utf-8")
    tests = folder / "ci" / "unit_tests"
    tests.mkdir(parents=True, exist_ok=True)
    test = tests / f"test_{NAME}.py"
    test.write_text(LICENSE + (ZOO / "unit_test.py").read_text(encoding="utf-8"), encoding="utf-8")
    _formatted(scripts, test)
    return bundle


def _write_metadata(file: Path) -> None:
    """The content of the package's bundle, with the differences of this one."""
    package = json.loads((ROOT / "bundle" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    needed = package.pop("required_packages_version")
    own = json.loads(file.read_text(encoding="utf-8"))
    versions = {name: needed[name] for name in own.pop("needs")}
    metadata = {**package, **own, "required_packages_version": versions}
    order = [name for name in package if name in metadata]
    order.insert(order.index("numpy_version") + 1, "required_packages_version")
    ordered = {name: metadata[name] for name in [*order, *(name for name in metadata if name not in order)]}
    file.write_text(json.dumps(ordered, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


def _merged(description: str, modules: dict[str, tuple[str, ...]]) -> str:
    """Merge modules of the package: imports of other packages first, then the rest unchanged.

    Raises:
        ValueError: if two modules define one name differently, or a name is missing.
    """
    imports: dict[str, None] = {}
    found: dict[str, str] = {}
    parts = []
    for module, names in modules.items():
        text = (ROOT / "monai_s3im" / f"{module}.py").read_text(encoding="utf-8")
        lines, tree = text.splitlines(keepends=True), ast.parse(text)
        for node in tree.body:
            if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not _is_ours(node)):
                imports[ast.unparse(node)] = None
        kept = [node for node in tree.body if _is_kept(node, names)]
        for node in kept:
            source = _source_of(node, lines)
            for name in _names_of(node):
                if found.setdefault(name, source) != source:
                    raise ValueError(f"{name} of {module} differs from that of an earlier module")
            parts.append(source)
        if missing := set(names) - {name for node in kept for name in _names_of(node)}:
            raise ValueError(f"{module} has no {', '.join(sorted(missing))}")
    body = "\n\n".join(dict.fromkeys(parts))
    return f'{LICENSE}"""{description}"""\n\n' + "\n".join(imports) + "\n\n" + body + "\n"


def _is_ours(node: ast.ImportFrom) -> bool:
    return node.level > 0 or str(node.module).startswith("monai_s3im")


def _is_kept(node: ast.stmt, names: tuple[str, ...]) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return False
    if isinstance(node, ast.Expr):  # a docstring: of the module, or below a constant
        return False
    return not names or bool(set(names) & set(_names_of(node)))


def _names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return (
        [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)] if targets[0] else []
    )


def _source_of(node: ast.stmt, lines: list[str]) -> str:
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    return "".join(lines[first - 1 : node.end_lineno])


def _formatted(*paths: Path) -> None:
    """By the zoo's settings of isort and black, which ruff knows."""
    ruff = [sys.executable, "-m", "ruff"]
    settings = ["--isolated", "--line-length", "120", "--target-version", "py39", "--no-cache", "-q"]
    of_imports = ["--select", "I,F401", "--fix", "--config", "lint.isort.split-on-trailing-comma=false"]
    of_layout = ["--config", "format.skip-magic-trailing-comma=true"]
    subprocess.run([*ruff, "format", *settings, *of_layout, *map(str, paths)], check=True)
    subprocess.run([*ruff, "check", *settings, *of_imports, *map(str, paths)], check=True)
    subprocess.run([*ruff, "format", *settings, *of_layout, *map(str, paths)], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(assemble(parser.parse_args().folder))
