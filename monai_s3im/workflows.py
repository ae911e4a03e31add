"""The bundle's configs as MONAI workflows, which run from any folder without naming a config file.

``python -m monai.bundle run_workflow monai_s3im.workflows.Training`` is the shortest form.
"""

import errno
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from .bundle_config import bundle_root
from .errors import InputError, OutputError, own_errors

logger = logging.getLogger(__name__)


class _BundleWorkflow(ConfigWorkflow):
    """A config of this package's bundle, in which every id can be overridden."""

    configs: tuple[str, ...]
    kind: str

    def __init__(self, config_file: str | Sequence[str] | None = None, **override: Any) -> None:
        files = config_file or [str(bundle_root() / "configs" / f"{name}.json") for name in self.configs]
        override.setdefault("bundle_root", str(bundle_root()))
        override.setdefault("workflow_type", self.kind)
        for name, file in (("meta_file", "metadata.json"), ("logging_file", "logging.conf")):
            if override.get(name) is None:
                override[name] = str(bundle_root() / "configs" / file)
        paths = [files] if isinstance(files, str) else list(files)
        if broken := [path for path in paths if any(ord(letter) < 32 for letter in str(path))]:
            raise InputError(f"{broken[0]!r} is not a path: in a list, write each backslash twice, or / instead")
        try:
            super().__init__(config_file=files, **override)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(f"{config_file or files} cannot be read as a config ({reason}): fix it") from error
        self._foreign = [path for path in paths if Path(path).resolve().parent != bundle_root().resolve() / "configs"]

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Re-raise our own errors; convert errors of a user's config to them."""
        try:
            with own_errors():
                yield
        except (InputError, OutputError):
            raise
        except Exception as error:
            if (denied := _denied(error)) is not None:
                raise OutputError(
                    f"{denied.filename} cannot be written ({denied.strerror}): choose a folder that you may write to"
                ) from error
            if not self._foreign:
                raise
            logger.debug("the config failed", exc_info=True)
            reason = " ".join(str(error.__cause__ or error).split())[:160]
            raise InputError(
                f"{', '.join(map(str, self._foreign))} cannot be run ({reason}): fix it; python -m monai.bundle run "
                "shows where it fails"
            ) from error

    def initialize(self) -> Any:
        """Run the config's ``initialize``.

        Raises:
            InputError: if the data or the weights cannot be used, or a config from outside this package fails; the
                message names them and the remedy.
            OutputError: if the results folder is not writable.
        """
        with self._told():
            return super().initialize()

    def run(self) -> Any:
        """Run the config's ``run``.

        Raises:
            InputError: as :meth:`initialize`.
            OutputError: if a result cannot be written.
        """
        with self._told():
            return super().run()


def _denied(error: BaseException | None) -> OSError | None:
    """The permission error for a folder behind an error of a config component, if any."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM, errno.EROFS} and error.filename:
            return error
        error = error.__cause__ or error.__context__
    return None


class Training(_BundleWorkflow):
    """Train: ``configs/train.json``.

    Args:
        config_file: another config, or several that are merged in order.
        **override: values of the config's ids: ``dataset_dir``, ``output_dir``, ``epochs``, ``batch_size``, ``device``,
            ``patch_size``, ``resume`` and all others.
    """

    configs = ("train",)
    kind = "train"


class Evaluation(_BundleWorkflow):
    """Measure the weights on the validation pairs: ``configs/evaluate.json`` over ``configs/train.json``.

    Args:
        config_file: other configs, merged in order.
        **override: values of the configs' ids: ``dataset_dir``, ``output_dir``, ``ckpt_path``, ``device`` and others.
    """

    configs = ("train", "evaluate")
    kind = "train"


class Inference(_BundleWorkflow):
    """Fuse: ``configs/inference.json``.

    Args:
        config_file: another config.
        **override: values of the config's ids: ``image_a``, ``image_b``, ``pairs``, ``output_dir``, ``device``,
            ``plane``, ``gray`` and others.
    """

    configs = ("inference",)
    kind = "infer"
