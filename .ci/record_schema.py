"""Write docs/data/record.schema.json, the JSON Schema of the record of each output, from monai_s3im.record.

Command:   python .ci/record_schema.py
Result:    the file matches the types; a test compares them
"""

import inspect
import json
import re
import types
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from monai_s3im.record import SCHEMA_VERSION, SOURCES, FusionRecord
from monai_s3im.settings import RECORDED, FusionSettings, choices_of

FILE = Path(__file__).resolve().parents[1] / "docs" / "data" / "record.schema.json"
PLAIN = {str: "string", bool: "boolean", int: "integer", float: "number", types.NoneType: "null"}


def schema() -> dict[str, Any]:
    """The schema of a written record; the settings are among its keys."""
    found = of(FusionRecord)
    properties: dict[str, Any] = {"schema_version": {"const": SCHEMA_VERSION}}
    for name, entry in found["properties"].items():
        properties |= settings() if name == "settings" else {name: entry}
    properties["sources"] |= {"required": [*SOURCES]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Record of a fusion by S3IMFusion",
        **found,
        "properties": properties,
        "required": [name for name in properties if name not in {"fused", "fused_sha256"}],
    }


def settings() -> dict[str, Any]:
    """The recorded settings; text is limited to the choices if no other values are allowed."""
    hints, help_texts = get_type_hints(FusionSettings), attributes(FusionSettings, "Args")
    others = {option.name for option in fields(FusionSettings) if option.metadata["others"]}
    found = {name: of(hints[name]) | {"description": help_texts[name]} for name in RECORDED}
    for name, entry in found.items():
        if choices_of(name) and name not in others:
            entry["enum"] = [*choices_of(name)]
    return found


def of(kind: Any) -> dict[str, Any]:
    """The schema of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is FusionSettings:
        return {}  # see settings()
    if is_dataclass(kind):
        hints, texts = get_type_hints(kind), attributes(kind, "Attributes")
        required = [option.name for option in fields(kind) if option.default is MISSING]
        properties = {name: of(hint) | {"description": texts[name]} for name, hint in hints.items()}
        return {"type": "object", "properties": properties, "required": required}
    if origin in {Union, types.UnionType}:
        return {"anyOf": [of(each) for each in arguments]}
    if origin in {list, Sequence}:
        return {"type": "array", "items": of(arguments[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": of(arguments[1])}
    return {"type": PLAIN[kind]}


def attributes(kind: type, section: str) -> dict[str, str]:
    """The description of each attribute in a docstring, without markup."""
    text = inspect.getdoc(kind) or ""
    lines = text.split(f"{section}:\n")[1].split("\n\n")[0]
    found = re.split(r"^    (\w+): ", lines, flags=re.MULTILINE)[1:]
    plain = [re.sub(r":\w+:`([^`]*)`|``", r"\1", " ".join(entry.split())) for entry in found[1::2]]
    plain = [re.sub(r"\bNone\b", "null", entry) for entry in plain]
    return dict(zip(found[::2], plain, strict=True))


def text() -> str:
    """The content of the file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
