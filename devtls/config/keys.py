"""The keys of devtls.toml, and what is wrong with those that are there; docs/config.md explains them."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import fields

from devtls.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtls.config.toml_lines import Path

DIALECT = "https://json-schema.org/draft/2020-12/schema"
HIGHEST_PORT = 65535
MOST_REPLICAS = 16
TARGETS = ("service", "to", "root", "redirect")  # a route has exactly one of them
LONGEST_SHOWN = 40  # characters of a wrong value


def _meta(kind: str, example: str, description: str, **limits: Any) -> Meta:  # noqa: ANN401 - msgspec checks them
    """What a key takes ("a port from 1 to 65535"), a line that says it, and what it is for."""
    return Meta(description=description, extra={"kind": kind, "example": example}, **limits)


Words = Annotated[str, Meta(min_length=1)]
Names = dict[str, str]
PortNumber = Annotated[int, Meta(ge=1, le=HIGHEST_PORT)]
Nginx = Annotated[str, _meta("a text", "nginx = 'gzip on;'", "Directives of your own: docs/nginx-directives.md.")]


class DomainKeys(Struct, frozen=True, forbid_unknown_fields=True):
    """[domains."love.cat"]: a domain, and what is served like it."""

    aliases: Annotated[
        list[Words], _meta("a list of names", 'aliases = ["www.love.cat"]', "Other names that are served like it.")
    ] = field(default_factory=list)
    hosts: Annotated[
        list[Words],
        _meta(
            "a list of names",
            'hosts = ["shop.love.cat"]',
            "Names below it that a wildcard serves, named so that each resolves on this machine.",
        ),
    ] = field(default_factory=list)
    headers: Annotated[
        Names,
        _meta(
            "a table of texts",
            'headers = { X-Frame-Options = "DENY" }',
            "What each answer carries, instead of what the app says; an empty text takes it out.",
        ),
    ] = field(default_factory=dict)
    nginx: Nginx = ""


class ServiceKeys(Struct, frozen=True, forbid_unknown_fields=True):
    """[services.web]: a command that devtls runs."""

    command: Annotated[
        Words | Annotated[list[str], Meta(min_length=1)],
        _meta(
            "a command",
            'command = "node app.js"',
            "What starts it: a text is split as a shell would, though none is used; a list is taken as it is.",
        ),
    ]
    port: Annotated[
        PortNumber | Literal["auto"],
        _meta(
            'a port from 1 to 65535 or "auto"',
            "port = 3000",
            'The port it is told (PORT); "auto": 3000, else the next free one.',
        ),
    ] = "auto"
    scheme: Annotated[
        Literal["http", "https", "grpc", "grpcs"],
        _meta('"http", "https", "grpc" or "grpcs"', 'scheme = "https"', "What it speaks."),
    ] = "http"
    replicas: Annotated[
        int,
        _meta(
            "a number from 1 to 16",
            "replicas = 3",
            "How many of it run; each has a port of its own.",
            ge=1,
            le=MOST_REPLICAS,
        ),
    ] = 1
    sticky: Annotated[bool, _meta("true or false", "sticky = true", "Keep a browser on its replica, by a cookie.")] = (
        False
    )
    cwd: Annotated[Words, _meta("a folder of the project", 'cwd = "backend"', "The folder it runs in.")] = "."
    env: Annotated[
        Names, _meta("a table of texts", 'env = { MODE = "dev" }', "Environment variables, besides your own.")
    ] = field(default_factory=dict)


class RouteKeys(Struct, frozen=True, forbid_unknown_fields=True):
    """[[routes]]: a path, and what answers there: exactly one of service, to, root and redirect."""

    path: Annotated[Words, _meta("a path", 'path = "/api"', "What is below it is answered here, too.")] = "/"
    domain: Annotated[
        str,
        _meta("a domain of this project", 'domain = "api.love.cat"', "Only there; else at all domains.", min_length=1),
    ] = ""
    service: Annotated[
        str, _meta("the name of a service", 'service = "api"', "A service of this file.", min_length=1)
    ] = ""
    to: Annotated[
        str,
        _meta(
            "an address on this machine",
            'to = "127.0.0.1:8080"',
            "A server that somebody else runs on this machine: a port, an address, a URL or unix:/socket.",
            min_length=1,
        ),
    ] = ""
    root: Annotated[
        str, _meta("a folder of the project", 'root = "dist"', "A folder whose files are served.", min_length=1)
    ] = ""
    redirect: Annotated[
        str,
        _meta(
            "a path, a domain of this project or an https URL",
            'redirect = "/new"',
            "Where a browser is sent (307), with what follows the path.",
            min_length=1,
        ),
    ] = ""
    fallback: Annotated[
        str,
        _meta(
            "a file below root",
            'fallback = "index.html"',
            "What answers where root has no such file, for a single-page app.",
            min_length=1,
        ),
    ] = ""
    strip: Annotated[bool, _meta("true or false", "strip = true", "The service gets the path without this one.")] = (
        False
    )
    nginx: Nginx = ""


class GatewayKeys(Struct, frozen=True, forbid_unknown_fields=True):
    """[gateway]: how nginx behaves."""

    prod_like: Annotated[
        bool, _meta("true or false", "prod_like = true", "Keep nginx' own limits: 60 s of silence, 1 MB, buffering.")
    ] = False


class FileKeys(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """devtls.toml: what `devtls up` serves, and how."""

    name: Annotated[str, _meta("a text", 'name = "shop"', "What the project is called.", min_length=1)] = ""
    domains: Annotated[
        dict[str, DomainKeys], Meta(description='The domains; "*.love.cat" is all names right below love.cat.')
    ]
    services: Annotated[dict[str, ServiceKeys], Meta(description="The commands that run, by their names.")] = field(
        default_factory=dict
    )
    routes: Annotated[
        list[RouteKeys], Meta(description="What answers where; without any, the one service answers everywhere.")
    ] = field(default_factory=list)
    gateway: GatewayKeys = field(default_factory=GatewayKeys)


def render_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    _reference, defined = msgspec.json.schema_components([FileKeys], ref_template="#/$defs/{name}")
    defined["RouteKeys"]["oneOf"] = [{"required": [name]} for name in TARGETS]
    return {"$schema": DIALECT, **defined.pop("FileKeys"), "title": "devtls.toml", "$defs": defined}


def find_problems(document: dict[str, Any], origin_of: Callable[[Path], str]) -> Iterator[Problem]:
    """What is wrong with the keys of a document and with the kinds of their values, all of it.

    Args:
        document: as TOML says it.
        origin_of: where a key path stands: "devtls.toml:12".
    """
    for path, fact, *cure in _check_table(document, FileKeys, ()):
        yield Problem(f"{origin_of(path)}: {spell_path(path)}" if path else origin_of(path), fact, tuple(cure))


def spell_path(path: Path) -> str:
    """A key path as people write it: services.web.port, routes[0].path, domains."love.cat"."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += ("." if text else "") + (key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key))
    return text


Complaint = tuple[Any, ...]  # the path, the fact, and the lines of the cure


def _check_table(value: Any, keys: type[Struct], path: Path) -> Iterator[Complaint]:  # noqa: ANN401 - anything of TOML
    if not isinstance(value, dict):
        yield path, f"{_spell(value)} is not a table", f"Begin it with {_header(path)}."
        return
    hints = get_type_hints(keys, include_extras=True)
    for key in (key for key in value if key not in hints):
        near = difflib.get_close_matches(key, hints, 1)
        cure = f"Did you mean {near[0]}?" if near else f"There are {', '.join(hints)}."
        yield (*path, key), "there is no such key", cure
    for each in fields(keys):
        if each.name in value:
            yield from _check_value(value[each.name], hints[each.name], (*path, each.name))
        elif each.required:
            yield path, f"{each.name} is missing", f"Write it as: {_example_of(hints[each.name])}"


def _check_value(value: Any, hint: Any, path: Path) -> Iterator[Complaint]:  # noqa: ANN401 - anything of TOML
    inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if isinstance(inner, type) and issubclass(inner, Struct):
        yield from _check_table(value, inner, path)
        return
    is_dict, is_list = get_origin(inner) is dict, get_origin(inner) is list
    of = get_args(inner)[-1] if is_dict or is_list else None
    if not (isinstance(of, type) and issubclass(of, Struct)):
        try:
            msgspec.convert(value, hint)
        except msgspec.ValidationError:
            yield path, f"{_spell(value)} is not {_extra_of(hint)['kind']}", f"Write it as: {_example_of(hint)}"
            return
        for where, text in _texts_of(value, path):
            if "\0" in text:
                yield where, "it has a NUL, which nothing can say", "Take it out."
    elif not isinstance(value, dict if is_dict else list):
        yield path, f"{_spell(value)} is not a {'table' if is_dict else 'list of tables'}", f"Write {_header(path)}."
    else:
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _check_table(each, of, (*path, key))


def _texts_of(value: Any, path: Path) -> Iterator[tuple[Path, str]]:  # noqa: ANN401 - anything of TOML
    """Each text of a value, and each key of a table."""
    match value:
        case str():
            yield path, value
        case dict():
            for key, each in value.items():
                yield (*path, key), f"{key}{each}"
        case list():
            for number, each in enumerate(value):
                yield from _texts_of(each, (*path, number))


def _extra_of(hint: Any) -> dict[str, str]:  # noqa: ANN401 - a type
    """What a key takes, and an example: of `_meta`."""
    metas = (each for each in get_args(hint)[1:] if isinstance(each, Meta) and each.extra)
    return next((each.extra for each in metas if each.extra), {})


def _example_of(hint: Any) -> str:  # noqa: ANN401 - a type
    return _extra_of(hint).get("example", '[domains."love.cat"]')


def _header(path: Path) -> str:
    """How a table begins: [services.NAME]."""
    match path:
        case ("domains", *_):
            return '[domains."love.cat"]'
        case ("services", *_):
            return "[services.web]"
        case ("routes", *_):
            return "[[routes]]"
    return f"[{spell_path(path)}]"


def _spell(value: Any) -> str:  # noqa: ANN401 - anything of TOML
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
