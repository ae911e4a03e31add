"""Make the virtual environment for `make`: this package, PyTorch for this machine, and the requirements of a target.

    python tools/environment.py              # .venv, to use the package: what `make demo` begins with
    python tools/environment.py test         # .venv, to test it as well: what `make test` begins with
    python tools/environment.py web|docs|audit --venv FOLDER    # the other environments of `make test-all`

PyTorch from PyPI brings about 3 GB of CUDA on Linux. So, on Linux without an NVIDIA GPU, only a CPU build is taken:
from where pip is configured to look or, if there is none, from https://download.pytorch.org/whl/cpu. The environment
variable TORCH_INDEX names another index, for any build. A PyTorch that is in the environment already is kept.

The other packages come by uv where it can reach PyPI, in a fifth of pip's time, else by pip. Versions are those of
constraints.txt. A second run changes nothing unless pyproject.toml or constraints.txt has changed.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (3, 11), (3, 13)
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
WEB_CONSTRAINTS = "web/constraints.txt"
BROWSER = ("playwright", "axe-playwright-python")
WEB_TESTS = ("pytest", "pytest-timeout", "scipy", *BROWSER)
NEEDS = {
    "use": ["-c", "constraints.txt", "-e", "."],
    "test": ["-c", "constraints.txt", "-e", ".[test]"],
    "web": ["-c", "constraints.txt", "-c", WEB_CONSTRAINTS, "-e", ".[web]", *WEB_TESTS],
    "docs": [
        "-c",
        "constraints.txt",
        "-c",
        WEB_CONSTRAINTS,
        "mkdocs-material",
        "mkdocstrings[python]",
        "ruff",
        *BROWSER,
    ],
    "audit": ["-r", ".ci/audit-requirements.txt"],
}
WITH_TORCH = ("use", "test", "web")
DESCRIBED_BY = ("pyproject.toml", "constraints.txt", WEB_CONSTRAINTS, ".ci/audit-requirements.txt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("purpose", nargs="?", choices=NEEDS, default="use")
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="its folder, created if missing")
    arguments = parser.parse_args()
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(f"error: {sys.executable} is Python {platform.python_version()}: run this with 3.11, 3.12 or 3.13")
    environment = Environment(arguments.venv.absolute())
    os.chdir(ROOT)
    if environment.is_ready_for(arguments.purpose):
        return
    print(f"Setting up {environment.folder} with Python {platform.python_version()}", flush=True)
    environment.create()
    if arguments.purpose in WITH_TORCH:
        install_torch(environment)
    environment.install(NEEDS[arguments.purpose])
    environment.note(arguments.purpose)


class Environment:
    """A virtual environment, with a note of what was installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        scripts = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = scripts / ("python.exe" if os.name == "nt" else "python")
        self.uv = scripts / ("uv.exe" if os.name == "nt" else "uv")
        self.noted = folder / "s3im-installed.json"
        self.read = json.loads(self.noted.read_text(encoding="utf-8")) if self.noted.is_file() else {}

    def is_ready_for(self, purpose: str) -> bool:
        """Whether an earlier run installed this or more, and no requirement has changed since."""
        if not self.python.exists() or self.read.get("state") != _state():
            return False
        return self.read["purpose"] == purpose or (self.read["purpose"] == "test" and purpose == "use")

    def note(self, purpose: str) -> None:
        self.read = {"purpose": purpose, "state": _state(), "torch": _pinned("torch")}
        self.noted.write_text(json.dumps(self.read), encoding="utf-8")

    def create(self) -> None:
        self.noted.unlink(missing_ok=True)
        if self.python.exists():
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            sys.exit(
                f"error: {self.folder} is not a virtual environment, or its Python is gone: remove it, or name another"
            )
        subprocess.run([sys.executable, "-m", "venv", self.folder], check=True)

    def pip(self, *arguments: str, **options: object) -> int:
        """Run its pip; the exit code."""
        command = [self.python, "-m", "pip", "--disable-pip-version-check", *arguments]
        return subprocess.run(command, check=False, **options).returncode

    def install(self, needs: list[str]) -> None:
        """Install by uv, or by pip if uv cannot reach the index that pip is configured for."""
        constraints = self.folder / "constraints.txt"
        constraints.write_text(self.constraints(), encoding="utf-8")
        needs = [str(constraints) if need == "constraints.txt" else need for need in needs]
        print("Installing the other packages", flush=True)
        if self.has_uv():
            command = [self.uv, "pip", "install", "--quiet", "--python", self.python, *needs]
            system = {"UV_SYSTEM_CERTS": "1", **os.environ}  # the certificates that pip also uses
            if subprocess.run(command, check=False, capture_output=True, env=system).returncode == 0:
                return
        if self.pip("install", "--quiet", "--no-compile", *needs):
            sys.exit("error: the packages could not be installed; see pip's output above")

    def has_uv(self) -> bool:
        """Whether uv may be used: not if pip has its own index, which uv would ignore."""
        configured = subprocess.run(
            [self.python, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
        )
        if re.search(r"(?m)(\.|_)(index-url|no-index|index_url)=", configured.stdout.replace("extra-index-url", "")):
            return False
        return self.uv.exists() or self.pip("install", "-qq", _pinned("uv"), stderr=subprocess.DEVNULL) == 0

    def constraints(self) -> str:
        """The requirements of the project, except a PyTorch that was already installed, which stays."""
        text = Path("constraints.txt").read_text(encoding="utf-8")
        torch = self.version_of("torch").partition("+")[0]
        return re.sub(r"(?m)^torch==.*$", f"torch=={torch}", text) if torch else text

    def version_of(self, package: str) -> str:
        """The version of an installed package, or None."""
        code = f"from importlib.metadata import version; print(version({package!r}))"
        return subprocess.run([self.python, "-c", code], check=False, capture_output=True, text=True).stdout.strip()


def install_torch(environment: Environment) -> None:
    """Install PyTorch if missing, without an accidental CUDA build on Linux without a GPU.

    A PyTorch in an environment made by somebody else stays, whatever its version.
    """
    wanted, index = _pinned("torch"), os.environ.get("TORCH_INDEX")
    found, earlier = environment.version_of("torch"), environment.read.get("torch", wanted)
    if found and earlier == wanted:  # otherwise it was installed here, and constraints.txt has changed since
        print(f"PyTorch {found} is there", flush=True)
        return
    print(f"Installing PyTorch, {wanted}", flush=True)
    if index:
        failed = environment.pip("install", "--no-compile", "--index-url", index, wanted)
    elif not sys.platform.startswith("linux") or has_nvidia_gpu():
        failed = environment.pip("install", "--no-compile", wanted)
    else:
        cpu_build = ["install", "--no-compile", "--no-deps", f"{wanted}+cpu"]
        failed = environment.pip(*cpu_build, stderr=subprocess.DEVNULL) and environment.pip(
            *cpu_build, "--index-url", CPU_INDEX, "--timeout", "20", "--retries", "1", stderr=subprocess.DEVNULL
        )
    if failed and not index and (sys.platform, platform.machine()) == ("darwin", "x86_64"):
        sys.exit(
            f"error: there is no {wanted} for a Mac with an Intel processor, or for an Intel Python on Apple silicon: "
            "the last is 2.2.2. Use an arm64 Python on Apple silicon, or Linux or Windows"
        )
    if failed:
        places = index or f"where pip is configured to look, or from {CPU_INDEX}"
        sys.exit(
            f"error: {wanted} for Python {platform.python_version()} could not be installed from {places}: "
            "name an index that has it in the environment variable TORCH_INDEX "
            "(https://pypi.org/simple has, for Linux, a CUDA build of about 3 GB, which also runs without a GPU)"
        )


def has_nvidia_gpu() -> bool:
    """Whether the driver lists a GPU."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return False
    try:
        listed = subprocess.run([command, "-L"], check=False, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU " in listed.stdout


def _pinned(package: str) -> str:
    """The requirement PACKAGE==VERSION of constraints.txt."""
    return re.search(rf"(?m)^{package}==\S+", (ROOT / "constraints.txt").read_text(encoding="utf-8"))[0]


def _state() -> str:
    described = b"".join((ROOT / name).read_bytes() for name in DESCRIBED_BY)
    return hashlib.sha256(described + str(ROOT).encode()).hexdigest()


if __name__ == "__main__":
    main()
