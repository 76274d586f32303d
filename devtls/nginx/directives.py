"""The user's own nginx directives: text in, a checked tree and text of our own making out.

devtls.toml comes with `git clone` and is not trusted, and `nginx -t` is no sandbox: it loads modules and creates files.
So the text is read here, alone; each directive is held to a list; nginx reads only what was understood, quoted anew.
docs/nginx-directives.md is the list for people.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from devtls.errors import FileError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from devtls.model import NginxContext

Kind = Literal["server", "route", "location", "if"]  # of block; route: our own location, that a text is put into

# Told by nginx alone what they mean: they concern one request or answer of the project, and name no file and no place.
PLAIN = """
    absolute_redirect add_header add_trailer allow auth_basic autoindex autoindex_exact_size autoindex_format
    autoindex_localtime break charset charset_types chunked_transfer_encoding client_body_buffer_size
    client_body_timeout client_max_body_size default_type deny etag expires gunzip gzip gzip_buffers gzip_comp_level
    gzip_disable gzip_http_version gzip_min_length gzip_proxied gzip_static gzip_types gzip_vary if_modified_since
    internal keepalive_requests keepalive_timeout limit_rate limit_rate_after log_not_found max_ranges msie_padding
    override_charset port_in_redirect proxy_buffer_size proxy_buffering proxy_buffers proxy_busy_buffers_size
    proxy_connect_timeout proxy_cookie_domain proxy_cookie_flags proxy_cookie_path proxy_force_ranges
    proxy_hide_header proxy_http_version proxy_ignore_client_abort proxy_ignore_headers proxy_intercept_errors
    proxy_limit_rate proxy_max_temp_file_size proxy_method proxy_next_upstream proxy_next_upstream_timeout
    proxy_next_upstream_tries proxy_pass_header proxy_pass_request_body proxy_pass_request_headers
    proxy_read_timeout proxy_redirect proxy_request_buffering proxy_send_timeout proxy_set_body proxy_set_header
    proxy_socket_keepalive recursive_error_pages return satisfy send_timeout server_name_in_redirect source_charset
    sub_filter sub_filter_last_modified sub_filter_once sub_filter_types tcp_nodelay
"""
# Read more closely: they name files, URIs, variables, or have a block.
CLOSELY = """
    alias auth_basic_user_file auth_request auth_request_set error_page if index location rewrite root set try_files
    types
"""
ALLOWED = frozenset(PLAIN.split() + CLOSELY.split())
BLOCKS = {"if", "location", "types"}
IN_IF = {"break", "return", "rewrite", "set"}  # all else in an `if` is known to misbehave
ELSEWHERE: dict[Kind, frozenset[str]] = {
    "server": frozenset({"alias", "internal", "try_files"}),
    "route": frozenset({"alias", "internal", "try_files"}),  # requests go to the service: no file would be served
    "location": frozenset({"proxy_set_header"}),  # one of these drops all that our location says
}
MULTILINE = {"return", "sub_filter"}  # a line break elsewhere ends up inside a header

# What people will try, and why not: the first that matches speaks.
REFUSED = (
    ("include", "it reads other files", "Write the directives themselves."),
    ("load_module", "it runs code in the gateway", "Leave it out."),
    ("log_.*|.*_log|debug_.*", "it writes files", "Leave it out: devtls keeps the gateway's logs."),
    ("(.*_)?ssl(_.*)?|http[23].*|quic.*", "TLS is devtls' own", "Leave it out: devtls makes the certificates."),
    (
        ".*_by_lua.*|lua_.*|js_.*|perl.*|ssi.*|xslt.*|image_filter.*",
        "it runs code or reads files in the gateway",
        "Do it in your app.",
    ),
    ("proxy_pass", "routes say where requests go, and pass WebSockets on", "Make it a route of devtls.toml."),
    (
        "(fastcgi|uwsgi|scgi|grpc|memcached|tunnel)_.*",
        "what its protocol leads to may run code or read files",
        "Have the app speak HTTP, and make it a route of devtls.toml.",
    ),
    (
        ".*_store(_access)?|.*_temp_path|.*_cache(_.*)?|dav_.*|create_full_put_path|.*_in_file_only",
        "it writes or keeps files",
        "Leave it out.",
    ),
    (
        "listen|server|server_name|upstream|resolver.*|proxy_bind|mirror.*|stub_status|.*real_ip.*",
        "where the gateway listens and whom it asks is devtls' own",
        "Leave it out; domains and routes of devtls.toml say it.",
    ),
    (
        "map.*|geo.*|split_clients|limit_(req|conn).*|.*_hash_.*",
        "it belongs to http, which all projects share",
        "Do it with `if` and `set`, or in your app.",
    ),
    (
        "http|events|stream|mail|env|user|pid|daemon|master_process|worker_.*|thread_pool|pcre_jit|lock_file",
        "it belongs to the gateway, which all projects share",
        "Leave it out.",
    ),
)
SYNTAX = "Write it as nginx reads it: words, then ; or { … }."
NOT_LISTED = ("it is not on the list", "See docs/nginx-directives.md for what may be said.")

UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]|(?![ \t\n\r])\s")
ESCAPE = re.compile(r"\\([\"'\\tnr])")  # of ngx_conf_read_token; any other backslash stands for itself
SPELT = {"t": "\t", "n": "\n", "r": "\r"}
UNSPEAKABLE = re.compile(r"[$\x00-\x1f\x7f]")  # a path with it would be computed, or end in the middle
# A named group defines a variable for all projects: one called http_upgrade would take the neighbours' WebSockets.
NAMED_GROUP = re.compile(r"\(\?(P?<(?![=!])|')")
VARIABLE = re.compile(r"\$(?!(?:arg|cookie|devtls|http|sent|upstream)_)[A-Za-z_][A-Za-z0-9_]*")
BROKEN_VARIABLE = re.compile(r"^\s*proxy_set_\w+ .*\$(?!\w|\{\w+\})")
CONDITION = re.compile(r"\$\w+")
MODIFIED = re.compile(r"(=|\^~|~\*|~)(.+)", re.DOTALL)
DOTS = re.compile(r"(?:^|/)\.+(?:/|$)")  # a part of a path that goes up, or would behind another dot
ONE_URI = re.compile(r"(?P<before>(?:/[^$]*)?)\$uri(?P<after>[^$]*)")
MIME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*/[A-Za-z0-9][A-Za-z0-9.+-]*")
EXTENSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# nginx does not tidy a URI that was rewritten: "/../.ssh" would be looked up as it is. So each location of the user's
# looks first; ours pass on, and one of ours is "/", so that no URI is in none.
CLIMBS = r"[^/]|(?:[\s\S]*/)?\.\.(?:/|$)"
UNWRAPPABLE = re.compile(r"\(\*|\(\?[A-Za-z^-]*x")  # patterns that mean something else inside another one
ELSEWHERES = ("http://", "https://", "$scheme://")  # what is sent back to the browser
DEEPEST = 8  # blocks in blocks; nobody needs more, and reading them is recursive
LONGEST = 64 * 1024  # characters; a text is read again at each start
BUFFERS = frozenset({"proxy_buffer_size", "proxy_buffers", "proxy_busy_buffers_size"})  # must fit each other
# Said in a location, those of the server are dropped; and ours says them, or may.
SHADOWED = ("proxy_set_header", "error_page", "add_header", "proxy_hide_header")
SERVERS = ("client_max_body_size", "client_body_timeout")  # what our server says, and takes once
REPEATED = ("proxy_hide_header",)  # that ours says, and takes any number of times

MARK = re.compile(r".*[;{}] # (?P<origin>[^#]+:\d+)")
COMPLAINT = re.compile(r"nginx: \[(?:emerg|alert|crit|error)\] (.+?)(?=^nginx: |\Z)", re.DOTALL | re.MULTILINE)
NUMBERED = re.compile(r"(?P<said>.+) in [^\n]+:(?P<line>\d+)", re.DOTALL)


class OwnText(Struct, frozen=True):
    """What a user wrote as `nginx = …`.

    Attributes:
        text: the directives.
        file: where, as the user knows it: "devtls.toml".
        line: of the text's first line in that file.
        context: of a domain (its server), or of a route (the locations that pass requests on to its service).
        project: the folder that served files must be in.
    """

    text: str
    file: str
    line: int
    context: NginxContext
    project: Path


class Directive(Struct, frozen=True):
    """One directive that was understood.

    Attributes:
        name: as nginx knows it.
        parameters: what nginx shall read, without quotes and escapes; of an `if` without its parentheses.
        origin: "devtls.toml:14".
        block: what is in its braces; None: it ends in a semicolon.
        passes_on: a location in a route that answers nothing itself, and so needs a `proxy_pass` of ours.
    """

    name: str
    parameters: tuple[str, ...]
    origin: str
    block: tuple[Directive, ...] | None = None
    passes_on: bool = False


def parse_own(own: OwnText) -> tuple[Directive, ...]:
    """Return what the text says: allowed, with absolute paths, and with what keeps served files inside the project.

    Raises:
        FileError: something is not allowed or not readable; all of it is told, a line each.
    """
    problems: list[Problem] = []
    tree = _read(own, problems)
    outside = _Place("server", "location") if own.context == "server" else _Place("route", "service")
    found = _Checker(own, problems).check(tree, outside)
    if problems:
        raise FileError(problems)
    return found


def render_own(directives: Sequence[Directive], indent: str = "") -> str:
    """Return the text that nginx reads as exactly these directives: a line each, with the mark that `locate` finds."""
    return "\n".join(f"{indent}{line}" for each in directives for line in _lines(each))


def settings_of(directives: Sequence[Directive]) -> frozenset[str]:
    """Return what is said here and would be said twice if the template said it, too: "proxy_set_header host"."""
    names = frozenset(key for each in directives if (key := _key(each)))
    return names | BUFFERS if names & BUFFERS else names


def leave_out(template: str, settings: Collection[str]) -> str:
    """Return a filled template, of a location or in a server, without the lines that the user's own replace."""
    return "".join(line for line in template.splitlines(keepends=True) if _key_of_line(line) not in settings)


def for_location(
    domain: Sequence[Directive],
    route: Sequence[Directive],
    passing: Sequence[tuple[str, ...]],
    *,
    is_exact: bool = False,
) -> tuple[Directive, ...]:
    """Return what to put into a location of a route.

    Args:
        domain: the domain's own, of which a location drops some unless they are repeated; the route's go before.
        route: the route's own.
        passing: what a location inside must say to pass requests on, `proxy_pass` and what it needs: (name, parameter).
        is_exact: it is a `location =`, which cannot have others inside.
    """
    said = settings_of(route)
    inherited = [each for each in domain if each.name in SHADOWED and _key(each) not in said]
    own = [_completed(each, passing) for each in route if not (is_exact and each.name == "location")]
    return (*own, *inherited)


def locate(error: str, config: str) -> str | None:
    """Return what nginx said, at the line of the user's that caused it: "devtls.toml:14: unknown directive"; or None.

    Args:
        error: what `nginx -t` printed.
        config: the configuration that it read, with the marks of `render_own`.
    """
    lines = config.split("\n")
    origins = [found["origin"] if (found := MARK.fullmatch(line)) else None for line in lines]
    marked = [(line, origin) for line, origin in zip(lines, origins, strict=True) if origin]
    for complaint in COMPLAINT.findall(error):
        found = NUMBERED.fullmatch(complaint.strip())
        said = found["said"] if found else complaint.strip()
        at = origins[int(found["line"]) - 1] if found and int(found["line"]) <= len(lines) else None
        # Some is found out when all is read, and tells the last line or none; then its words lead to a line.
        if origin := at or _by_words(said, marked):
            return f"{origin}: {' '.join(said.split())}"
    return None


def _by_words(said: str, marked: Sequence[tuple[str, str]]) -> str | None:
    """The line that has the variable or the setting that nginx quotes; the last, since new sites come last."""
    if variable := re.search(r'unknown "(\w+)" variable', said):
        uses = re.compile(rf"\$(?:{variable[1]}\b|\{{{variable[1]}\}})")
        return next((origin for line, origin in reversed(marked) if uses.search(line)), None)
    if said == "invalid variable name" or "closing bracket" in said:
        # Of what is sent on, found at the end of the location, without a word of whose it is.
        return next((origin for line, origin in reversed(marked) if BROKEN_VARIABLE.search(line)), None)
    # "proxy_busy_buffers_size" is what nginx complains of when proxy_buffer_size was set.
    stems = tuple("_".join(word.split("_")[:2]).rstrip("s") for word in re.findall(r'"([a-z]+_[a-z_]+)"', said))
    return next((origin for line, origin in reversed(marked) if stems and line.strip().startswith(stems)), None)


def _lines(directive: Directive) -> Iterator[str]:
    words = [_quote(each) for each in directive.parameters]
    if directive.name == "if":
        words = ["(", *words, ")"]
    said = " ".join([directive.name, *words])
    if directive.block is None:
        yield f"{said}; # {directive.origin}"
        return
    yield f"{said} {{ # {directive.origin}"
    for inside in directive.block:
        yield from (f"    {line}" for line in _lines(inside))
    yield f"}} # {directive.origin}"


def _quote(value: str) -> str:
    """One parameter on one line: nothing in it can end it. `$` is left: variables are to be used."""
    for sign, spelt in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        value = value.replace(sign, spelt)
    return f'"{value}"'


def _key(directive: Directive) -> str | None:
    """What replaces its like; None: it may be said again."""
    if directive.name == "proxy_set_header" and directive.parameters:
        return f"proxy_set_header {directive.parameters[0].lower()}"
    is_single = directive.name.startswith("proxy_") and directive.name not in REPEATED
    return directive.name if is_single or directive.name in SERVERS else None


def _key_of_line(line: str) -> str | None:
    words = line.strip().rstrip(";").split()
    return _key(Directive(words[0], tuple(words[1:]), "")) if words else None


def _completed(directive: Directive, passing: Sequence[tuple[str, ...]]) -> Directive:
    if directive.name != "location" or directive.block is None:
        return directive
    ours = [Directive(name, tuple(parameters), directive.origin) for name, *parameters in passing]
    inside = tuple(_completed(each, passing) for each in directive.block)
    return replace(directive, block=(*ours, *inside) if directive.passes_on else inside)


def _read(own: OwnText, problems: list[Problem]) -> tuple[Directive, ...]:
    """The text as a tree, with nothing asked of it yet.

    The lexer is nginx' own but for a few corners, where it takes a space, a quote or a brace for the end of a word and
    nginx does not. That changes what is understood and so what is rendered; never what nginx reads of it.
    """
    # A mark must be one line that ends in a number, whatever the file is called.
    file = re.sub(r"[^\w./ -]", "?", own.file)
    lines = own.text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, own.line):
        if found := UNREADABLE.search(line):
            fact = f"there is a U+{ord(found[0]):04X}, a character that nginx may read as something else"
            problems.append(Problem(f"{file}:{number}", fact, ("Type that place anew.",)))
    if len(own.text) > LONGEST:
        cure = f"Write at most {LONGEST} characters."
        problems.append(Problem(f"{file}:{own.line}", "the text is too long", (cure,)))
    if problems:
        return ()
    return _Reader(file, own.line, problems).read("\n".join(lines))


class _Reader:
    """Tokens -> tree."""

    def __init__(self, file: str, first: int, problems: list[Problem]) -> None:
        self.file = file
        self.first = first
        self.problems = problems
        self.words: list[tuple[str, int]] = []
        self.opened: list[Directive] = []
        self.stack: list[list[Directive]] = [[]]

    def read(self, text: str) -> tuple[Directive, ...]:
        from crossplane.errors import NgxParserBaseException
        from crossplane.lexer import lex_string

        try:
            for word, line, is_quoted in lex_string(text):
                if not is_quoted and word in {";", "{", "}"}:
                    if flaw := self.end(word):
                        self.complain(self.words[0][1] if self.words else line, flaw)
                        break
                elif is_quoted or not word.startswith("#"):
                    self.words.append((_decode(word), line))
            else:
                if self.words:
                    self.complain(self.words[0][1], f"`{self.words[0][0]}` is not ended by a semicolon")
        except NgxParserBaseException as error:
            self.complain(error.lineno or 1, error.strerror)
        return tuple(self.stack[0])

    def end(self, sign: str) -> str | None:
        """End a directive, or begin or end its block; return what is wrong with that."""
        if (sign == "}") == bool(self.words):
            return f"`{sign}` is not expected here"
        if sign == "}":
            inside = tuple(self.stack.pop())
            self.stack[-1].append(replace(self.opened.pop(), block=inside))
            return None
        name, *parameters = (word for word, _line in self.words)
        directive = Directive(name, tuple(parameters), self.origin(self.words[0][1]))
        if sign == ";":
            self.stack[-1].append(directive)
        elif len(self.stack) == DEEPEST:
            return "blocks are nested too deep"
        else:
            self.opened.append(directive)
            self.stack.append([])
        self.words = []
        return None

    def origin(self, line: int) -> str:
        return f"{self.file}:{self.first + line - 1}"

    def complain(self, line: int, fact: str) -> None:
        self.problems.append(Problem(self.origin(line), fact, (SYNTAX,)))


def _decode(word: str) -> str:
    return ESCAPE.sub(lambda found: SPELT.get(found[1], found[1]), word)


class _Place(Struct, frozen=True):
    """Where a directive stands.

    Attributes:
        kind: of block.
        goal: what a request comes to after it: a location, the service of a route, or a folder.
        serves: what is not answered otherwise is looked for in a folder.
    """

    kind: Kind
    goal: Literal["location", "service", "folder"]
    serves: bool = False


class _Checker:
    """Tree -> the tree that is rendered; what must not be said is noted and left out."""

    def __init__(self, own: OwnText, problems: list[Problem]) -> None:
        self.project = Path(os.path.realpath(own.project))
        self.problems = problems
        self.in_route = own.context == "location"

    def check(self, directives: Sequence[Directive], place: _Place) -> tuple[Directive, ...]:
        """Check the directives of one block."""
        serves = place.serves or any(each.name == "root" for each in directives)
        return tuple(made for each in directives for made in self.directive(each, replace(place, serves=serves)))

    def directive(self, directive: Directive, place: _Place) -> tuple[Directive, ...]:
        """Check one. How many parameters it has is for nginx to say."""
        if flaw := next(_flaws(directive, place.kind), None):
            return self.refuse(directive, *flaw)
        match directive.name:
            case "location":
                made = self.location(directive, place)
            case "if":
                made = self.condition(directive, place)
            case "types":
                made = self.types(directive)
            case "root" | "alias" | "auth_basic_user_file":
                made = self.path(directive)
            case "rewrite":
                made = self.rewrite(directive, place)
            case "set" | "auth_request_set":
                made = self.variable(directive)
            case "try_files" | "error_page" | "auth_request" | "index":
                made = self.uris(directive)
            case _:
                made = (directive,)
        return made

    def location(self, directive: Directive, place: _Place) -> tuple[Directive, ...]:
        """A location of the user's: it answers itself, or passes on to the service of the route that it is in."""
        sign, path = _split_location(directive.parameters)
        is_named = not sign and path.startswith("@") and not path.startswith("@devtls")
        if not (sign.startswith("~") or is_named or path.startswith("/")):
            return self.refuse(directive, f"`{path}` is not where a location can be", "Write `location /path { … }`.")
        block = directive.block or ()
        names = {each.name for each in block}
        serves = place.serves or bool(names & {"root", "alias", "try_files"})
        passes_on = self.in_route and not serves and "return" not in names
        if not passes_on and not serves and not names & {"return", "rewrite", "deny"}:
            cure = "Say root, try_files or return in it, or write it for the route that it is about."
            self.refuse(directive, f"`location {path}` has nothing that answers", cure)
        for each in block:
            if each.name == "alias" and not _is_tight(sign, path, each.parameters):
                cure = "End the location and its alias in a slash, or use root."
                self.refuse(each, "this alias would let more be reached than its folder", cure)
        inside = self.check(block, _Place("location", "service" if passes_on else "folder", serves))
        if not passes_on:
            refusal = Directive("return", ("404",), directive.origin)
            inside = (Directive("if", _climbing(sign, path), directive.origin, (refusal,)), *inside)
        parameters = (sign, path) if sign else (path,)
        return (Directive("location", parameters, directive.origin, inside, passes_on),)

    def condition(self, directive: Directive, place: _Place) -> tuple[Directive, ...]:
        """An `if`, without its parentheses: `($a = b)` is "$a", "=", "b"."""
        words = list(directive.parameters)
        if words and words[0].startswith("(") and words[-1].endswith(")"):
            words[0] = words[0][1:]
            words[-1] = words[-1][:-1]
            words = words[not words[0] : len(words) - (not words[-1])]
        else:
            words = []
        match words:
            case [variable] | [variable, "=" | "!=" | "~" | "~*" | "!~" | "!~*", _] if CONDITION.fullmatch(variable):
                block = self.check(directive.block or (), replace(place, kind="if"))
                return (replace(directive, parameters=tuple(words), block=block),)
        cure = "Write `if ($variable)` or `if ($variable = value)`, also with != ~ ~* !~ !~*; for files, try_files."
        return self.refuse(directive, "this is not a condition that may be asked", cure)

    def types(self, directive: Directive) -> tuple[Directive, ...]:
        for each in directive.block or ():  # to nginx an `include` in here is an include
            is_type = MIME.fullmatch(each.name) and all(map(EXTENSION.fullmatch, each.parameters))
            if each.block is not None or not is_type:
                self.refuse(each, f"`{each.name}` is not a type and its extensions", "Write: text/css css;")
        return (directive,)

    def path(self, directive: Directive) -> tuple[Directive, ...]:
        """A file or folder: absolute, inside the project, and with no links that lead out of it."""
        if len(directive.parameters) != 1:
            return (directive,)
        said = directive.parameters[0]
        found = Path(os.path.realpath(self.project / said))  # Path.resolve raises at a link to itself
        path = f"{found}/" if said.endswith("/") else str(found)
        if UNSPEAKABLE.search(said) or UNSPEAKABLE.search(path):
            return self.refuse(directive, f"`{said}` has a variable or a line break in it", "Write one plain path.")
        if not found.is_relative_to(self.project):
            return self.refuse(directive, f"`{said}` is outside the project", f"Name a path in {self.project}.")
        absolute = replace(directive, parameters=(path,))
        if directive.name == "auth_basic_user_file":
            return (absolute,)
        return (absolute, Directive("disable_symlinks", ("on", f"from={self.project}"), directive.origin))

    def rewrite(self, directive: Directive, place: _Place) -> tuple[Directive, ...]:
        """A URI may be computed where the service gets it, or where a location gets it and looks at it first."""
        uri = directive.parameters[1] if len(directive.parameters) > 1 else "/"
        flags = {*directive.parameters[2:]}
        path = uri.split("?")[0]
        if uri.startswith(ELSEWHERES) or ("break" in flags and place.goal == "service" and path.startswith("$")):
            return (directive,)
        # One that does not begin with a slash would be in no location at all, and looked for beside the root.
        if DOTS.search(path) or not path.startswith("/"):
            return self.refuse(directive, f"`{uri}` is not a plain path", "Begin it with a slash, without `..`: /$1")
        # Only these leave a location, whatever stands behind them: after the others a `break` would serve the file.
        if "$" in path and place.goal == "folder" and not {"last", "redirect", "permanent"} & flags:
            fact = "what is computed must not be served from a folder unseen"
            return self.refuse(directive, fact, "End it with `last`, or return the URL.")
        return (directive,)

    def variable(self, directive: Directive) -> tuple[Directive, ...]:
        name = directive.parameters[0] if directive.parameters else ""
        if not VARIABLE.fullmatch(name):
            return self.refuse(directive, f"`{name}` is not a variable that may be set", "Call it $my_name.")
        return (directive,)

    def uris(self, directive: Directive) -> tuple[Directive, ...]:
        """A URI that nginx goes to by itself is looked up as it is: it must not climb."""
        *rest, last = directive.parameters or ("",)
        match directive.name:
            case "try_files":
                target = re.split(r"\?|\$is_args", last)[0]
                is_plain = all(map(_is_file, rest)) and (target.startswith(("@", "=")) or _is_file(target))
            case "error_page":
                is_plain = last.startswith(("@", *ELSEWHERES)) or _is_plain(last.split("?")[0])
            case "auth_request":
                is_plain = last == "off" or _is_plain(last)
            case _:  # index
                is_plain = all(_is_plain(f"/{each}") for each in directive.parameters)
        if is_plain:
            return (directive,)
        cure = "Begin it with a slash, without `..`; $uri is the only variable, and in try_files alone."
        return self.refuse(directive, f"`{directive.name}` has a path that is not plain", cure)

    def refuse(self, directive: Directive, fact: str, cure: str) -> tuple[Directive, ...]:
        self.problems.append(Problem(directive.origin, fact, (cure,)))
        return ()


def _flaws(directive: Directive, kind: Kind) -> Iterator[tuple[str, str]]:
    """What no directive may be, whatever it means: facts, each with its cure."""
    name, parameters = directive.name, directive.parameters
    if name not in ALLOWED:
        why, cure = next(((why, cure) for names, why, cure in REFUSED if re.fullmatch(names, name)), NOT_LISTED)
        yield f"`{name}` is not allowed here: {why}", cure
    if kind == "if" and name not in IN_IF:
        yield f"`{name}` does not work in an `if`", "Say it outside, or in a `location`."
    if name in ELSEWHERE.get(kind, ()):
        cure = "Say it for the route." if kind == "location" else "Put it into a `location { … }`."
        yield f"`{name}` does not work here", cure
    if (directive.block is not None) != (name in BLOCKS):
        yield f"`{name}` ends with {'a block in braces' if name in BLOCKS else 'a semicolon'}", SYNTAX
    if any(map(NAMED_GROUP.search, parameters)):
        yield "a named group would be one of all projects", "Number it: ( … ) and $1."
    if name not in MULTILINE and any("\n" in each or "\r" in each for each in parameters):
        yield f"`{name}` has a line break in a parameter", "Write it on one line."


def _split_location(parameters: Sequence[str]) -> tuple[str, str]:
    """The sign of a location, and its path: `= /a` and `=/a` are the same to nginx; what is no location is two ""."""
    match parameters:
        case [path]:
            found = MODIFIED.fullmatch(path)
            return (found[1], found[2]) if found else ("", path)
        case ["=" | "^~" | "~" | "~*" as sign, path]:
            return sign, path
        case _:
            return "", ""


def _is_tight(sign: str, path: str, parameters: Sequence[str]) -> bool:
    """Whether an alias opens its folder only: /a -> folder/ would make /a../x the folder's neighbour."""
    return sign == "=" or (not sign.startswith("~") and path.endswith("/") and all(p.endswith("/") for p in parameters))


def _climbing(sign: str, path: str) -> tuple[str, ...]:
    """The condition that a URI leads out of the folder.

    An `if` whose pattern does not match forgets $1: so the pattern of a location is part of it, and matches again.
    """
    if sign in {"~", "~*"} and not UNWRAPPABLE.search(path):
        return ("$uri", f"!{sign}", rf"^(?!{CLIMBS})(?=[\s\S]*?(?:{path}))")
    return ("$uri", "~", f"^(?:{CLIMBS})")


def _is_plain(path: str) -> bool:
    return path.startswith("/") and "$" not in path and not DOTS.search(path)


def _is_file(text: str) -> bool:
    """Whether try_files may look for it: a plain path, or $uri with something plain around it."""
    found = ONE_URI.fullmatch(text)
    return not any(map(DOTS.search, found.groups())) if found else _is_plain(text)
