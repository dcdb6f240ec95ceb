"""A container image without an engine: the stages of a Dockerfile, each run in an overlay of this host's root.

It can't show that the base image has what the stages need; it shows that their commands work, what they leave, and that the program
runs as the image says: as process 1 of its own namespace, as its user, with a read-only root.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple, Optional, Sequence

from dockerfile_parse import DockerfileParser

from tests.support.program import environment, wait_until


class Instruction(NamedTuple):
    """One instruction of a Dockerfile."""

    name: str
    value: str


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile in their order, without comments."""
    parser = DockerfileParser(fileobj=io.BytesIO(text.encode()))
    return [Instruction(part["instruction"], part["value"]) for part in parser.structure if part["instruction"] != "COMMENT"]


class Image:
    """What the last stage of a Dockerfile says of how its program is run, and how to build and run it here."""

    def __init__(self, text: str, context: Path, place: Path, **arguments: str) -> None:
        """`context` is what COPY copies from, `place` an empty directory, `arguments` are the build arguments."""
        self.text, self.context, self.place, self.arguments = text, context, place, arguments
        self.said = instructions(text)
        self.last = self.said[max(number for number, (name, _) in enumerate(self.said) if name == "FROM") :]

    def words(self, name: str) -> list[str]:
        """Return the words of the last instruction of that name, which must be in the form of a list."""
        words: list[str] = json.loads(self.value(name)[self.value(name).index("[") :])
        return words

    def value(self, name: str) -> str:
        """Return the value of the last instruction of that name in the last stage."""
        return [value for said, value in self.last if said == name][-1]

    @contextlib.contextmanager
    def running(self, **environ: str) -> Iterator[Container]:
        """Build the image, and run it with this environment and a volume that is `place`/volume; kill it in the end."""
        self.place.mkdir(exist_ok=True)
        script = "\n".join(self._script(environ))
        with (self.place / "stderr").open("w") as log:
            words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", script]
            process = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=log)
        try:
            yield Container(self, process)
        finally:
            process.kill()
            process.wait()

    def _script(self, environ: dict[str, str]) -> Iterator[str]:
        """Yield the lines of a shell script that builds all stages and becomes the program."""
        yield "mount --make-rprivate /"
        yield f"mkdir {self.place}/stages && mount -t tmpfs none {self.place}/stages"
        stages: list[str] = []
        root, directory = "", "/"
        variables: dict[str, str] = {}
        for name, value in self.said:
            words = value.split()
            if name == "FROM":
                stages.append(words[2] if "AS" in words else "")
                root, directory, variables = f"{self.place}/stages/{len(stages)}/root", "/", {"PATH": f"{sys.prefix}/bin:{os.defpath}"}
                yield from self._new_root(Path(root))
            elif name == "ARG":
                key, _, default = value.partition("=")
                variables[key] = self.arguments.get(key, default)
            elif name == "ENV":
                variables.update(_pairs(shlex.split(value)))
            elif name == "WORKDIR":
                directory = value
                yield f"mkdir -p {root}{value}"
            elif name == "COPY":
                source = str(self.context)
                if words[0].startswith("--from="):
                    source = f"{self.place}/stages/{stages.index(words.pop(0)[7:]) + 1}/root"
                yield f"mkdir -p {root}{words[1]} && cp -a {source}/{words[0]}/. {root}{words[1]}/"
                yield f"chown --reference={source}/{words[0]} {root}{words[1]} && chmod --reference={source}/{words[0]} {root}{words[1]}"
            elif name == "RUN":
                yield shlex.join(["chroot", root, "env", "-i", *_assigned(variables), "sh", "-euc", f"cd {directory}; {value}"])
        (volume,) = self.words("VOLUME")
        yield f"cp -a {root}{volume} {self.place}/volume && mount --bind {self.place}/volume {root}{volume}"
        yield f"mount -o remount,ro {root}"
        yield f"exec {shlex.join([*self.entry(root, {**variables, **environ}, directory), *self.words('ENTRYPOINT'), *self.words('CMD')])}"

    def entry(self, root: str, variables: dict[str, str], directory: str) -> list[str]:
        """Return the words that start a program in a root as the image's user."""
        user, _, group = self.value("USER").partition(":")
        confined = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
        return ["chroot", root, *confined, "env", "-i", f"--chdir={directory}", *_assigned(variables)]

    def _new_root(self, root: Path) -> Iterator[str]:
        """Yield what makes a root that looks like this host's and keeps what is written to it."""
        above = root.parent
        yield f"mkdir -p {root} {above}/upper {above}/work"
        yield f"mount -t overlay overlay -o lowerdir=/,upperdir={above}/upper,workdir={above}/work {root}"
        for path in (sys.prefix, sys.base_prefix, "/dev"):
            yield f"mkdir -p {root}{path} && mount --bind {path} {root}{path}"
        # Of the copy: a Python in a home directory is out of reach for the image's user.
        yield f"chmod o+x {' '.join(f'{root}{parent}' for parent in Path(sys.base_prefix).parents)}"
        yield f"mount -t proc proc {root}/proc"


def _pairs(words: Iterable[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _assigned(variables: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]


class Container(NamedTuple):
    """An image that runs."""

    image: Image
    process: subprocess.Popen[bytes]

    @property
    def first(self) -> int:
        """The number, on this host, of what is process 1 inside."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        (child,) = wait_until(lambda: children.read_text("utf-8").split())
        return int(child)

    def children(self, of: Optional[int] = None) -> set[int]:
        """Return the children of process 1, or of another, dead ones that nobody has reaped among them."""
        with contextlib.suppress(OSError):
            return {int(word) for word in Path(f"/proc/{of or self.first}/task/{of or self.first}/children").read_text("utf-8").split()}
        return set()

    def descendants(self) -> set[int]:
        """Return everything but process 1, dead ones that nobody has reaped among them."""
        found, new = set[int](), self.children()
        while new - found:
            found |= new
            new = {child for process in found for child in self.children(process)}
        return found

    @property
    def stderr(self) -> str:
        """What was said so far."""
        return (self.image.place / "stderr").read_text("utf-8")

    def ended(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a program beside process 1, as the same user, to its end."""
        variables = _pairs(Path(f"/proc/{self.first}/environ").read_text("utf-8").rstrip("\0").split("\0"))
        user, _, group = self.image.value("USER").partition(":")
        inside = ["nsenter", f"--target={self.first}", "--mount", "--pid", "--root", "--wd", f"--setuid={user}", f"--setgid={group}"]
        said = [*inside, "env", "-i", *_assigned(variables), *words]
        return subprocess.run(said, capture_output=True, text=True, check=False, timeout=60)
