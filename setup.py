"""Carries the project's files into the wheel, for `tintlab init`; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PLACE = Path("src/tintlab/system/project")


def project_files() -> list[Path]:
    """The files that src/tintlab/system/project/FILES lists."""
    patterns = (PLACE / "FILES").read_text(encoding="utf-8").split()
    found = {pattern: sorted(path for path in Path().glob(pattern) if path.is_file()) for pattern in patterns}
    if missing := [pattern for pattern, paths in found.items() if not paths]:
        raise FileNotFoundError(f"{', '.join(missing)}: listed in {PLACE / 'FILES'}, but missing")
    return [path for paths in found.values() for path in paths]


class BuildWithProject(build_py):
    """Also copies the project's files. An editable install reads them where they are."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            for path in project_files():
                target = Path(self.build_lib, "tintlab", "system", "project", path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)

    def get_source_files(self) -> list[str]:
        """The files of a source distribution."""
        return [*super().get_source_files(), *map(str, project_files())]


setup(cmdclass={"build_py": BuildWithProject})
