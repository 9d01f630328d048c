"""Build what a release consists of into a folder: `python deploy/make_dist.py [FOLDER]` (build/dist).

The wheel, the source distribution, the chart and the documentation as archives, and SHA256SUMS of them all. The images
are built where there is a container engine.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from helm_python import Chart

ROOT = Path(__file__).resolve().parent.parent
_BACKEND = "import sys, setuptools.build_meta as backend; getattr(backend, 'build_' + sys.argv[1])(sys.argv[2])"
_SPHINX = ("-W", "--keep-going", "-n", "-q", "-b", "html")


def build(output: Path) -> list[Path]:
    """Build everything; the files, SHA256SUMS last."""
    output.mkdir(parents=True, exist_ok=True)
    # The distributions are built from what git knows, as a clone would have it; whatever else lies about stays out.
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        copy_tracked(source)
        for kind in ("wheel", "sdist"):
            subprocess.run(
                [sys.executable, "-c", _BACKEND, kind, str(output)], cwd=source, check=True, stdout=subprocess.DEVNULL
            )
        site = Path(folder) / "site"
        subprocess.run([sys.executable, "docs/make_reference.py"], cwd=ROOT, check=True)
        doctrees = ("-d", str(Path(folder) / "doctrees"))
        subprocess.run([sys.executable, "-m", "sphinx", *_SPHINX, *doctrees, "docs", str(site)], cwd=ROOT, check=True)
        (wheel,) = output.glob("*.whl")
        version = wheel.name.split("-")[1]
        with tarfile.open(output / f"paploss-docs-{version}.tar.gz", "w:gz") as archive:
            archive.add(site, f"paploss-docs-{version}")
    with Chart.load(ROOT / "helm") as chart:
        if chart.version != version:
            raise SystemExit(f"helm/Chart.yaml: expected version {version}, the package's, got {chart.version}")
        chart.save(output)
    files = sorted(file for file in output.iterdir() if file.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (output / "SHA256SUMS").write_text("".join(lines))
    return [*files, output / "SHA256SUMS"]


def copy_tracked(target: Path) -> None:
    """Copy the files that git knows, as they are in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place, follow_symlinks=False)


def main() -> None:
    """Read the argument, build, and say what there is."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "dist").resolve()
    shutil.rmtree(output, ignore_errors=True)
    for file in build(output):
        sys.stdout.write(f"{file}  {file.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
