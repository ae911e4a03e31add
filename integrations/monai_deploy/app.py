"""A MONAI Deploy application: select two series of each study, fuse them, write a DICOM series.

    pip install -r integrations/monai_deploy/requirements.txt     # into the environment of monai-s3im; no GPU is needed
    python integrations/monai_deploy/app.py -i STUDIES -o OUTPUT [-m model.ts]

STUDIES is a folder of DICOM files, of one study or several. `series.json` beside this file, in the form of the SDK's
DICOMSeriesSelectorOperator, says which series is `image_a`, whose grid the result has, and which is `image_b`: as it
stands, a T1 and a CT, PET or SPECT. The result of a study is the series OUTPUT/UID_OF_THE_STUDY/*.dcm, which belongs to
that study, and its record beside the folder. A model such as the model.ts of a release fuses all pairs; without one,
each pair gets the weights of its task.
"""

import logging
from pathlib import Path
from typing import Any

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, Operator, OperatorSpec
from monai.deploy.core.domain.dicom_series_selection import StudySelectedSeries
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator

from monai_s3im.errors import InputError
from monai_s3im.pipeline import Fuser

logger = logging.getLogger(__name__)

RULES = Path(__file__).with_name("series.json")
SOURCES = ("image_a", "image_b")


class FuseSeriesOperator(Operator):
    """Fuse the two selected series of each study into a DICOM series.

    Named input:
        study_selected_series_list: studies, each with its selected series, named ``image_a`` and ``image_b``.

    Args:
        fragment: the application.
        *args: conditions, as every operator has them.
        studies: folder of the DICOM files.
        output: folder of the results.
        weights: an exported network, or weights; None: those of the pair's task.
        **kwargs: such as ``name``.
    """

    def __init__(
        self, fragment: Any, *args: Any, studies: Path, output: Path, weights: Path | None, **kwargs: Any
    ) -> None:
        self._studies = studies
        self._output = output
        self._weights = weights
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the input."""
        spec.input("study_selected_series_list")

    def compute(self, op_input: Any, _op_output: Any, _context: Any) -> None:
        """Fuse.

        Raises:
            InputError: if no study has both series, or two series cannot be fused.
        """
        chosen = {
            study.study.StudyInstanceUID: _series_of(study) for study in op_input.receive("study_selected_series_list")
        }
        pairs = {study: series for study, series in chosen.items() if len(series) == len(SOURCES)}
        if not pairs:
            raise InputError(
                f"{self._studies} has no study with the two series that {RULES} describes: adapt its conditions"
            )
        fuse = Fuser(weights=self._weights, dicom=True)
        for study, series in pairs.items():
            image_a, image_b = (f"{self._studies}#{series[name]}" for name in SOURCES)
            fuse(image_a, image_b, self._output / study)
            logger.info("fused: %s", self._output / study)


def _series_of(study: StudySelectedSeries) -> dict[str, str]:
    """The UIDs of the selected series, by the names of the selections."""
    return {str(found.selection_name): str(found.series.SeriesInstanceUID) for found in study.selected_series}


class FusionApp(Application):
    """Load, select, fuse."""

    def compose(self) -> None:
        """Chain the operators."""
        context = Application.init_app_context(self.argv)
        studies, output, model = (
            Path(path).resolve() for path in (context.input_path, context.output_path, context.model_path)
        )
        load = DICOMDataLoaderOperator(self, CountCondition(self, 1), input_folder=studies, name="load")
        select = DICOMSeriesSelectorOperator(self, rules=RULES.read_text(encoding="utf-8"), name="select")
        weights = model if model.is_file() else None
        fuse = FuseSeriesOperator(self, studies=studies, output=output, weights=weights, name="fuse")
        self.add_flow(load, select, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(select, fuse, {("study_selected_series_list", "study_selected_series_list")})


if __name__ == "__main__":
    FusionApp().run()
