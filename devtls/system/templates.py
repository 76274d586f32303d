"""Find the templates, and fill them."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING

from devtls.errors import DevtlsError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Template(string.Template):
    """Text with %{fields}: nginx spells its own variables with $ and its blocks with {}, pages their styles."""

    delimiter = "%"


def find_templates(environment: Mapping[str, str]) -> Path:
    """Return the folder of templates: $DEVTLS_TEMPLATES, the wheel's, or the source tree's."""
    if named := environment.get("DEVTLS_TEMPLATES"):
        return Path(named)
    package = Path(__file__).parents[1]
    packaged = package / "templates"  # put there by the wheel
    return packaged if packaged.is_dir() else package.parent / "templates"  # an editable install


def fill(folder: Path, name: str, /, **fields: str) -> str:
    """Return a template's text with its fields filled in; `name` is its path in the folder, "nginx/site.conf".

    Raises:
        DevtlsError: there is no such template, or it asks for a field that does not exist.
    """
    path = folder / name
    try:
        return Template(path.read_text("utf-8")).substitute(fields)
    except FileNotFoundError as error:
        raise DevtlsError(f"there is no template {path}", "Unset DEVTLS_TEMPLATES, or install devtls again.") from error
    except (KeyError, ValueError) as error:
        raise DevtlsError(f"the template {path} cannot be filled: {error}") from error
