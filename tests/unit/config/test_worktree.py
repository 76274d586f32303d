from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from devtls.config.worktree import LONGEST_LABEL, find_branch, label_of, serve_branch
from devtls.model import LABEL, Endpoint, External, Project, Redirect, Route

if TYPE_CHECKING:
    from pathlib import Path


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=dev", "-c", "user.email=dev@example.com", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init")
    git(folder, "commit", "--allow-empty", "--message", "begin")
    return folder


def test_a_linked_worktree_is_known_by_its_branch_wherever_one_is_in_it(checkout: Path) -> None:
    git(checkout, "worktree", "add", "-b", "feature/Chat_2", "../chat")
    (checkout.parent / "chat/deep/er").mkdir(parents=True)
    assert find_branch(checkout.parent / "chat") == find_branch(checkout.parent / "chat/deep/er") == "feature/Chat_2"


def test_a_worktree_without_a_branch_is_known_by_its_folder(checkout: Path) -> None:
    git(checkout, "worktree", "add", "--detach", "../try out")
    assert find_branch(checkout.parent / "try out") == "try out"


def test_main_checkouts_submodules_and_other_folders_are_no_worktrees(checkout: Path) -> None:
    (checkout / "src").mkdir()
    (checkout / "module").mkdir()
    (checkout / "module/.git").write_text("gitdir: ../.git/modules/module\n", "utf-8")
    assert [find_branch(place) for place in (checkout, checkout / "src", checkout / "module", checkout.parent)] == [
        None
    ] * 4


@pytest.mark.parametrize(
    ("branch", "label"),
    [("feature/Chat_2", "feature-chat-2"), ("--", "worktree"), ("ünï", "n"), ("a" * 60, "a" * LONGEST_LABEL)],
)
def test_a_branch_becomes_a_label(branch: str, label: str) -> None:
    assert label_of(branch) == label
    assert LABEL.fullmatch(label)


def test_every_name_of_the_project_moves_below_and_the_authority_stays(tmp_path: Path) -> None:
    api = External(Endpoint("127.0.0.1", 8080))
    routes = (
        Route("/", "web"),
        Route("/", api, "api.love.cat"),
        Route("/", Redirect(domain="love.cat"), "www.love.cat"),
    )
    project = Project(tmp_path, ("love.cat", "api.love.cat", "www.love.cat", "*.love.cat"), (), routes)
    moved = serve_branch(project, "chat")
    assert moved.domains == ("chat.love.cat", "chat.api.love.cat", "chat.www.love.cat", "*.chat.love.cat")
    assert moved.authority_names == project.domains
    assert moved.routes[1].host == "chat.api.love.cat"
    assert moved.routes[2] == Route("/", Redirect(domain="chat.love.cat"), "chat.www.love.cat")
    assert serve_branch(moved, "chat").domains == moved.domains
