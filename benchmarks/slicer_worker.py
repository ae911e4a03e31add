"""Time the first and the second fusion of the Slicer module: the second pays no start and no import.

Command:  python benchmarks/slicer_worker.py
Needs:    pip install -e .[slicer-test]
Duration: about half a minute on one CPU core.
Result:   a table of the parts in seconds; "start and import" of the second and third fusion is below 0.05 s.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from monai_s3im.phantom import head_phantom

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "slicer_extension" / "S3IMFusion"))
from S3IMFusionLib.logic import FusionLogic

SHAPE, SPACING_MM = (96, 112, 40), (2.0, 2.0, 4.0)
FUSIONS = 3
POLL_S = 0.005


def add_volume(scene: Any, name: str, volume: Any) -> Any:
    """A volume node of a tensor (1, X, Y, Z) with affine."""
    node, matrix = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name), vtk.vtkMatrix4x4()
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(volume[0].numpy().T))
    matrix.DeepCopy(volume.affine.numpy().ravel().tolist())
    node.SetIJKToRASMatrix(matrix)
    return node


def timed_fusion(logic: FusionLogic, source_a: Any, source_b: Any) -> dict[str, float]:
    """Seconds of the parts of a fusion, as a user waits for them."""
    begin = time.perf_counter()
    run = logic.start(source_a, source_b)
    handed_over = time.perf_counter()
    while run.poll() == "running":
        time.sleep(POLL_S)
    end = time.perf_counter()
    computed = run.seconds["set up"] + run.seconds["fuse"]
    return {
        "hand over": handed_over - begin,
        "start and import": end - handed_over - computed - run.seconds["into scene"],
        "set up": run.seconds["set up"],
        "fuse": run.seconds["fuse"],
        "into scene": run.seconds["into scene"],
        "total": end - begin,
    }


def main() -> None:
    """Print the table."""
    scene, volumes = slicer.vtkMRMLScene(), head_phantom(SHAPE, SPACING_MM).volumes
    ct, mr = add_volume(scene, "CT", volumes["ct"]), add_volume(scene, "MR", volumes["t1"])
    logic = FusionLogic(scene)
    rows = [timed_fusion(logic, ct, mr) for _ in range(FUSIONS)]
    logic.close()
    print(f"CT + MR, {' x '.join(map(str, SHAPE))} voxels, seconds")
    print("fusion  " + "  ".join(f"{part:>16}" for part in rows[0]))
    for number, row in enumerate(rows, start=1):
        print(f"{number:>6}  " + "  ".join(f"{seconds:16.3f}" for seconds in row.values()))


if __name__ == "__main__":
    main()
