"""Which locked packages have known vulnerabilities, by a database of OSV's that lies on this machine.

`make vulnerabilities ADVISORIES=…` calls this where the public database cannot be asked. A database is what OSV
publishes for PyPI: a zip of advisories in JSON, or a folder of them.
"""

import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

Advisory = dict[str, Any]


def locked(lock: str) -> dict[str, str]:
    """Return the version of each package that a lock of pip's names, by the package's canonical name."""
    return {canonicalize_name(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", lock)}


def advisories(database: Path) -> Iterator[Advisory]:
    """Yield each advisory that has not been withdrawn."""
    if database.is_dir():
        texts = (path.read_bytes() for path in sorted(database.glob("*.json")))
    else:
        archive = zipfile.ZipFile(database)
        texts = (archive.read(name) for name in archive.namelist() if name.endswith(".json"))
    for text in texts:
        advisory: Advisory = json.loads(text)
        if "withdrawn" not in advisory:
            yield advisory


def within(version: str, events: list[dict[str, str]]) -> bool:
    """Return whether a version lies in a range; what cannot be compared does, so that a person looks at it."""
    inside = False
    try:
        mine = Version(version)
        for event in sorted(events, key=lambda each: Version(next(iter(each.values())))):
            [(kind, text)] = event.items()
            at = Version(text)
            if kind == "introduced" and mine >= at:
                inside = True
            elif (kind == "fixed" and mine >= at) or (kind == "last_affected" and mine > at):
                inside = False
    except InvalidVersion:
        return True
    return inside


def found(packages: dict[str, str], database: Path) -> tuple[int, list[str]]:
    """Return how many advisories about packages of PyPI there are, and a line for each that concerns one of these."""
    asked, lines = 0, []
    for advisory in advisories(database):
        for affected in advisory.get("affected", []):
            package = affected.get("package", {})
            if package.get("ecosystem") != "PyPI":
                continue
            asked += 1
            name = canonicalize_name(package["name"])
            version = packages.get(name)
            ranges = [each["events"] for each in affected.get("ranges", []) if each["type"] == "ECOSYSTEM"]
            if version and (version in affected.get("versions", []) or any(within(version, each) for each in ranges)):
                lines.append(f"{name} {version}: {advisory['id']} {advisory.get('summary', '')}".rstrip())
    return asked, lines


def main(lock: str, database: str) -> int:
    """Tell what was found; return 0 for nothing, 1 for something, 2 for a database that knows nothing."""
    packages = locked(Path(lock).read_text())
    asked, lines = found(packages, Path(database))
    if not packages or not asked:
        sys.stderr.write(
            f"{lock} names {len(packages)} packages, {database} has {asked} advisories: nothing was looked up\n"
        )
        return 2
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.write(f"{len(packages)} packages, {asked} advisories, {len(lines)} concern them\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
