"""List the packages of an environment (SBOM, CycloneDX), and check them for known vulnerabilities.

    python .ci/audit.py ENVIRONMENT FOLDER    # the Python of an environment; writes FOLDER/sbom.json and audit.json

Ten seconds, and a minute with a slow network. Needs the pinned tools of `.ci/audit-requirements.txt` in the environment
that runs it. A known vulnerability ends with exit code 1, unless `.ci/audit-accepted.txt` gives its id and a reason. An
unreachable service is reported but does not fail the run, since the code has not changed.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OWN = "monai-s3im"
LIST = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", help="its Python")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_sbom(arguments.environment, arguments.folder / "sbom.json")
    report = ask(pins(arguments.environment), arguments.folder / "audit.json")
    text, is_well = verdict(report, accepted((HERE / "audit-accepted.txt").read_text(encoding="utf-8")))
    print(text)
    sys.exit(not is_well)


def write_sbom(environment: str, file: Path) -> None:
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--of", "JSON"]
    subprocess.run([*command, "-o", file, environment], check=True)
    parts = json.loads(file.read_text(encoding="utf-8"))
    for part in parts["components"]:  # where a package was installed from is of this machine
        references = part.get("externalReferences", [])
        part["externalReferences"] = [item for item in references if not item["url"].startswith("file:")]
    file.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    print(f"{file.name}: {len(parts['components'])} packages")


def pins(environment: str) -> list[str]:
    """The installed packages as NAME==VERSION; build tags such as +cpu are dropped."""
    listed = subprocess.run([environment, "-I", "-c", LIST], check=True, capture_output=True, text=True).stdout
    pairs = (line.split() for line in listed.splitlines())
    return sorted({f"{name}=={version.partition('+')[0]}" for name, version in pairs if name.lower() != OWN})


def ask(packages: list[str], file: Path) -> dict[str, Any] | None:
    """The answer of PyPI's service; None without one."""
    requirements = file.with_suffix(".txt")
    requirements.write_text("\n".join(packages) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip_audit", "-s", "pypi", "--no-deps", "--disable-pip", "-r", requirements]
    command += ["-f", "json", "-o", file, "--progress-spinner", "off", "--timeout", "15"]
    file.unlink(missing_ok=True)
    try:
        subprocess.run(command, check=False, capture_output=True, timeout=300)
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def accepted(text: str) -> set[str]:
    """The ids at the start of lines, each followed by the reason."""
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if short := [words[0] for words in lines if len(words) < 2]:
        sys.exit(f"error: audit-accepted.txt gives no reason for {', '.join(short)}")
    return {words[0] for words in lines}


def verdict(report: dict[str, Any] | None, accepted_ids: set[str]) -> tuple[str, bool]:
    """The result of the service, and whether it passes.

    Args:
        report: from pip-audit; None if it wrote none.
        accepted_ids: of vulnerabilities that are known here, with a reason.
    """
    dependencies = report["dependencies"] if report else []
    asked = [item for item in dependencies if "vulns" in item]
    if not asked:
        return "AUDIT NOT DONE: the service of PyPI answered for no package; run it where PyPI can be reached", True
    found = [
        f"{item['name']} {item['version']}: {vulnerability['id']}, fixed in {vulnerability['fix_versions'] or 'none'}"
        for item in asked
        for vulnerability in item["vulns"]
        if not {vulnerability["id"], *vulnerability.get("aliases", [])} & accepted_ids
    ]
    unknown = [f"{item['name']} is not known there" for item in dependencies if "vulns" not in item]
    count = f"{len(asked)} of {len(dependencies)} packages audited, {len(found)} known vulnerabilities"
    return "\n".join([*unknown, *found, count]), not found


if __name__ == "__main__":
    main()
