"""Stand-ins for the parts of Slicer missing in slicer-core: qt, ctk, MRML widgets, the application, base classes.

Each class names the file and line of the original that it follows: in Slicer 5.12.3, in CTK, or in PythonQt. They are
as strict as the original, or stricter: they call super where it does, emit when it emits, and refuse what it refuses.
What passes with them has not been tested in Slicer. The folder ``Base/Python`` of Slicer's sources, named by
``SLICER_BASE_PYTHON``, replaces the base classes and the parameter node wrapper here.
"""

from .application import qSlicerLayoutManager, qSlicerScriptedLoadableModule, qSlicerScriptedLoadableModuleWidget
from .paths import BASE_PYTHON, EXTENSION
from .placing import delete, in_place
from .qt_classes import PLAIN

__all__ = [
    "BASE_PYTHON",
    "EXTENSION",
    "PLAIN",
    "delete",
    "in_place",
    "qSlicerLayoutManager",
    "qSlicerScriptedLoadableModule",
    "qSlicerScriptedLoadableModuleWidget",
]
