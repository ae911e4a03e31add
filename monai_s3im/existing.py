"""What lies at a path: no, too, where the system lets nobody look or takes no name that long."""

from os.path import exists, isdir, isfile  # those of pathlib raise an error there

__all__ = ["exists", "isdir", "isfile"]
