"""Linked git worktrees: each branch has names of its own, so that several are up beside the main checkout."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from devtls.model import Redirect, parse_domain

if TYPE_CHECKING:
    from pathlib import Path

    from devtls.model import Project, Route

LONGEST_LABEL = 40  # characters; a label may have 63, and a person has to read it


def find_branch(directory: Path) -> str | None:
    """Return the branch of the linked worktree that a directory is in, or the name of its folder when it has none.

    None in a main checkout, in a submodule, and where there is no git: see gitrepository-layout(5).
    """
    for folder in (directory, *directory.parents):
        place = folder / ".git"
        try:
            if place.is_dir():
                return None
            text = place.read_text("utf-8", "replace")
        except FileNotFoundError:
            continue
        except OSError:
            return None
        found = folder / text.removeprefix("gitdir:").strip()
        return _read_branch(found) or folder.name if found.parent.name == "worktrees" else None
    return None


def _read_branch(git_directory: Path) -> str:
    try:
        head = (git_directory / "HEAD").read_text("utf-8", "replace").strip()
    except OSError:
        return ""
    return head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else ""


def label_of(branch: str) -> str:
    """The host label of a branch: "Feature/Chat_2" is feature-chat-2."""
    label = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")[:LONGEST_LABEL].strip("-")
    return label or "worktree"


def serve_branch(project: Project, branch: str) -> Project:
    """Return the project with the branch's names, below those it has in the main checkout; the authority stays theirs.

    Raises:
        UsageError: a name becomes too long.
    """
    label = label_of(branch)
    return replace(
        project,
        domains=tuple(_below(domain, label) for domain in project.domains),
        routes=tuple(_move(route, label) for route in project.routes),
        authority_names=project.domains,
        settings=tuple(
            replace(each, hosts=tuple(_below(host, label) for host in each.hosts)) for each in project.settings
        ),
    )


def _below(domain: str, label: str) -> str:
    rest = domain.removeprefix("*.")
    if rest.startswith(f"{label}."):
        return domain
    return ("*." if rest != domain else "") + parse_domain(f"{label}.{rest}")


def _move(route: Route, label: str) -> Route:
    target = route.target
    if isinstance(target, Redirect) and target.domain:
        target = Redirect(domain=_below(target.domain, label))
    return replace(route, host=_below(route.host, label) if route.host else "", target=target)
