"""The checks before a release: `make release-check`.

The wheel built from the sdist must have the same bytes as the wheel built from the checkout. It is tested with each
installed Python, with the lowest and the newest dependencies.
"""

from __future__ import annotations

import os
import re
import tarfile
from hashlib import sha256
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = "CI" in os.environ
nox.options.sessions = ["build", "test"]

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
PYTHONS = ["3.11", "3.12", "3.13"]
# Tests that need neither the maintainer's tools nor a broker.
PROMISES = [
    "test_client", "test_download", "test_flow", "test_fuzz", "test_many", "test_payloads", "test_plugin",
]  # fmt: skip
TOOLS = ["hypothesis", "pytest", "pytest-timeout", "pytest-xdist", "trio", "trustme"]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return sha256(path.read_bytes()).hexdigest()


def make(session: nox.Session, source: Path, to: Path, *kinds: str) -> list[Path]:
    """Build into a folder, with the same timestamp each time."""
    session.run("python", "-m", "build", *kinds, "--outdir", str(to), str(source), silent=True)
    return sorted(to.iterdir())


@nox.session(venv_backend="none")
def build(session: nox.Session) -> None:
    """Build twice, compare the bytes, and check the packages."""
    version = re.search(
        r'^__version__ = "(.+)"', (ROOT / "wrapper/duomi/_version.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    heading = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if version is None or heading is None or heading[1] != version[1]:
        session.error(
            f"the changelog's top entry {heading and heading[1]!r} is not the version {version and version[1]!r}"
        )
    seconds = session.run("git", "log", "-1", "--format=%ct", silent=True, external=True)
    session.env["SOURCE_DATE_EPOCH"] = str(seconds).strip()
    folders = [Path(session.create_tmp()) / name for name in ("first", "second", "unpacked", "of-sdist")]
    for folder in (*folders, DIST):
        session.run("rm", "-rf", str(folder), external=True, silent=True)
    first, second = (make(session, ROOT, folder) for folder in folders[:2])
    if [digest(path) for path in first] != [digest(path) for path in second]:
        session.error("two builds of one tree differ")
    sdist, wheel = next(p for p in first if p.suffix == ".gz"), next(p for p in first if p.suffix == ".whl")
    with tarfile.open(sdist) as archive:
        archive.extractall(folders[2], filter="data")
    (unpacked,) = folders[2].iterdir()
    (again,) = make(session, unpacked, folders[3], "--wheel")
    if digest(again) != digest(wheel):
        session.error("the wheel built from the sdist differs from the one built from the checkout")
    session.run("twine", "check", "--strict", str(sdist), str(wheel))
    session.run("check-wheel-contents", "--toplevel", "duomi,duomi_api", str(wheel))
    folders[0].rename(DIST)


@nox.session(python=PYTHONS)
@nox.parametrize("dependencies", ["lowest", "newest"])
def test(session: nox.Session, dependencies: str) -> None:
    """Test the wheel with the lowest or the newest dependencies that it allows."""
    (wheel,) = DIST.glob("*.whl")
    resolution = "lowest-direct" if dependencies == "lowest" else "highest"
    session.install("-r", "pyproject.toml", "--all-extras", "--resolution", resolution)
    session.install("--no-deps", str(wheel))
    session.install(*TOOLS)
    session.run("duomi", "--version", external=True)
    session.run("python", "-c", "import duomi.celery, duomi.simulator, duomi._cli.commands")
    # Old libraries cause warnings on a new Python; in the checkout, tests treat warnings as errors.
    promises(session, "-W", "default")


@nox.session(venv_backend="none")
def promises(session: nox.Session, *options: str) -> None:
    """Run the tests that need neither the maintainer's tools nor a broker, with the current Python."""
    session.run("python", "-m", "pytest", "-q", "-n", "2", *options, *(f"tests/{name}.py" for name in PROMISES))


@nox.session
def outlook(session: nox.Session) -> None:
    """Report what the newest generator and dependencies would change; the checkout is not touched."""
    copy = Path(session.create_tmp()).resolve() / "copy"
    session.run("rm", "-rf", str(copy), external=True, silent=True)
    session.run("git", "clone", "--quiet", str(ROOT), str(copy), external=True)
    session.chdir(copy)
    wanted = copy / "requirements/dev.in"
    wanted.write_text(re.sub(r"==.*", "", wanted.read_text(encoding="utf-8")), encoding="utf-8")
    pins = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header"]
    session.run(
        "uv", "pip", "compile", "--quiet", "--upgrade", *pins, "-o", "requirements/dev.txt", str(wanted), external=True
    )
    diff = str(session.run("git", "diff", "-U0", "requirements/dev.txt", external=True, silent=True))
    print("\n".join(re.findall(r"^[+-][\w.-]+==\S+", diff, re.MULTILINE)) or "no newer dependencies")
    session.install("-r", "requirements/dev.txt")
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")
    session.run("./generate.sh", "--check", external=True, success_codes=[0, 1])
    session.run("python", "-m", "contract", "check", success_codes=[0, 1])
