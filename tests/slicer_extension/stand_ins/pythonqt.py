"""PythonQt's rules on a PySide6 class."""

# ruff: noqa: N807, RUF012

from PySide6 import QtCore

_ASKED: set[tuple[int, str]] = set()


class PythonQt:
    """Properties are attributes, signals are connected by their C++ signature, and nothing else can be set.

    Follows PythonQt, src/PythonQtInstanceWrapper.cpp, PythonQtInstanceWrapper_getattro and _setattro, and
    src/PythonQtStdDecorators.cpp, PythonQtStdDecorators::connect. PythonQt only prints that a signal does not exist;
    here that is an error. Names with an underscore are the stand-ins' own.
    """

    CPP_SIGNALS: dict[str, str] = {}  # C++ signature: name of the signal here, where PySide6 has another signature

    def __getattribute__(self, name):
        if name in ("connect", "disconnect"):
            return self._connect if name == "connect" else self._disconnect
        plain = super().__getattribute__
        is_asked = (id(self), name) in _ASKED  # Qt asks here whether Python has the property (3.12)
        if is_asked or name.startswith("_") or QtCore.QObject.metaObject(self).indexOfProperty(name) < 0:
            return plain(name)
        _ASKED.add((id(self), name))
        try:
            return QtCore.QObject.property(self, name)
        finally:
            _ASKED.discard((id(self), name))

    def __setattr__(self, name, value):
        index = QtCore.QObject.metaObject(self).indexOfProperty(name)
        if index >= 0:
            if not QtCore.QObject.metaObject(self).property(index).isWritable():
                raise AttributeError(f"Property '{name}' of {type(self).__name__} object is not writable")
            QtCore.QObject.setProperty(self, name, value)
        elif name.startswith("_") or self._is_child(name, value):
            super().__setattr__(name, value)
        else:
            refuse(self, name)

    def _is_child(self, name, value):
        """Whether PySide6's loader offers a child by its name, as PythonQt does."""
        return isinstance(value, QtCore.QObject) and QtCore.QObject.objectName(value) == name

    @property
    def name(self):
        return self.objectName

    @name.setter
    def name(self, text):
        self.objectName = text

    def _signal(self, signature):
        wanted = bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()
        known = QtCore.QObject.metaObject(self).indexOfSignal(wanted) >= 0
        if not known and wanted not in self.CPP_SIGNALS:
            raise AttributeError(f"signal '{signature}' does not exist on {type(self).__name__}")
        return getattr(self, self.CPP_SIGNALS.get(wanted, wanted.partition("(")[0]))

    def _connect(self, signature, slot):
        self._signal(signature).connect(slot)
        return True

    def _disconnect(self, signature, slot):
        return self._signal(signature).disconnect(slot)


def refuse(item, name):
    """Raises what PythonQt raises where Python sets an attribute that the C++ class has not."""
    kind = type(item).__name__
    if hasattr(type(item), name):
        raise AttributeError(f"Slot '{name}' can not be overwritten on {kind} object")
    raise AttributeError(f"'{name}' does not exist on {kind} and creating new attributes on C++ objects is not allowed")


def refuse_unknown_attributes(cls):
    """Makes a plain class as closed as a C++ class in PythonQt: only what ``__init__`` sets can be set later."""
    initialise = cls.__init__

    def __init__(self, *arguments, **named):
        object.__setattr__(self, "_is_open", True)
        initialise(self, *arguments, **named)
        object.__setattr__(self, "_is_open", False)

    def __setattr__(self, name, value):
        if not self._is_open and name not in vars(self):
            refuse(self, name)
        object.__setattr__(self, name, value)

    cls.__init__, cls.__setattr__ = __init__, __setattr__
    return cls
