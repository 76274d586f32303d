from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devtls.errors import UsageError
from devtls.model import Route, Scheme
from devtls.nginx.directives import (
    ALLOWED,
    DEEPEST,
    LONGEST,
    REFUSED,
    Directive,
    OwnText,
    for_location,
    leave_out,
    locate,
    parse_own,
    render_own,
    settings_of,
)
from devtls.nginx.location import Manners, Way, render_location
from devtls.system.templates import find_templates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtls.model import NginxContext as Context

ROOT = Path(__file__).parents[3]
PROJECT = Path("/home/me/cats")
LIST = (ROOT / "docs/nginx-directives.md").read_text("utf-8")

Tree = list[tuple[list[str], "Tree | None"]]


# As ngx_conf_read_token goes through it: behind a quote only these signs may come, and ${ is no block.
TOKEN = re.compile(
    r"""[ \t\r\n]+ | \#[^\n]* | (?P<end>[;{}])
    | (?: "(?P<double>(?:\\.|[^"\\])*)" | '(?P<single>(?:\\.|[^'\\])*)' ) (?=[ \t\r\n;{)])
    | (?P<bare> (?!["'\#}]) (?: \\. | \$\{+ | [^ \t\r\n;{\\] )+ )""",
    re.DOTALL | re.VERBOSE,
)
ESCAPED = {"t": "\t", "r": "\r", "n": "\n"}


def read_as_nginx(text: str) -> Tree:
    """What nginx reads: (words, block)."""
    stack: list[Tree] = [[]]
    words: list[str] = []
    place = 0
    while place < len(text):
        found = TOKEN.match(text, place)
        assert found, f"nginx stumbles at {text[place : place + 40]!r}"
        place = found.end()
        word = next((found[kind] for kind in ("double", "single", "bare") if found[kind] is not None), None)
        if word is not None:
            words.append(re.sub(r"\\([\"'\\trn])", lambda sign: ESCAPED.get(sign[1], sign[1]), word))
        elif found["end"] == "}":
            assert not words
            stack.pop()
        elif found["end"]:
            assert words
            inside: Tree | None = [] if found["end"] == "{" else None
            stack[-1].append((words, inside))
            stack += [] if inside is None else [inside]
            words = []
    assert (len(stack), words) == (1, [])
    return stack[0]


def tree_of(directives: tuple[Directive, ...]) -> Tree:
    return [
        (
            [each.name, *(["(", *each.parameters, ")"] if each.name == "if" else each.parameters)],
            None if each.block is None else tree_of(each.block),
        )
        for each in directives
    ]


def names_in(tree: Tree) -> set[str]:
    return {name for words, inside in tree for name in {words[0], *names_in(inside or [])}}


def paths_in(directives: tuple[Directive, ...]) -> Iterator[str]:
    """Where nginx will look for files."""
    for each in directives:
        if each.name in {"root", "alias", "auth_basic_user_file"}:
            yield from each.parameters[:1] if len(each.parameters) == 1 else ()
        yield from paths_in(each.block or ())


def own(text: str, context: Context = "server", project: Path = PROJECT, line: int = 10) -> OwnText:
    return OwnText(text, "devtls.toml", line, context, project)


def parse(text: str, context: Context = "server", project: Path = PROJECT) -> tuple[Directive, ...]:
    return parse_own(own(text, context, project))


def refusal(text: str, context: Context = "server", project: Path = PROJECT) -> UsageError:
    with pytest.raises(UsageError) as refused:
        parse(text, context, project)
    assert refused.value.exit_code == 2
    assert refused.value.cure
    return refused.value


def test_each_directive_is_one_line_with_where_it_was_written() -> None:
    text = """\
# what we do in production
proxy_read_timeout 10s; add_header X-Cat
  'purr';

if ($http_user_agent ~* "curl") { return 403; }
"""
    assert render_own(parse(text, "location"), "    ").split("\n") == [
        '    proxy_read_timeout "10s"; # devtls.toml:11',
        '    add_header "X-Cat" "purr"; # devtls.toml:11',
        '    if ( "$http_user_agent" "~*" "curl" ) { # devtls.toml:14',
        '        return "403"; # devtls.toml:14',
        "    } # devtls.toml:14",
    ]


def test_nothing_said_is_nothing_rendered() -> None:
    assert render_own(parse("\n  # only a thought\n")) == ""


def test_all_that_is_wrong_is_told_at_once_each_with_its_line_and_cure() -> None:
    text = """\
include /etc/passwd;
expires 1h;
location /a { ssl_certificate x; }
location /b { root ../dogs; }
nonsense on;
return 200"""
    refused = refusal(text)
    assert str(refused).split("\n") == [
        "devtls.toml:10: `include` is not allowed here: it reads other files",
        "devtls.toml:12: `location /a` has nothing that answers",
        "devtls.toml:12: `ssl_certificate` is not allowed here: TLS is devtls' own",
        "devtls.toml:13: `../dogs` is outside the project",
        "devtls.toml:14: `nonsense` is not allowed here: it is not on the list",
        "devtls.toml:15: `return` is not ended by a semicolon",
    ]
    assert len(refused.cure) == 6
    assert "Name a path in /home/me/cats." in refused.cure


@pytest.mark.parametrize(
    "text",
    [
        "include x;",
        "'include' x;",
        "types { include /etc/passwd; }",
        "location / { if ($a) { include x; } }",
        "load_module modules/evil.so;",
        "access_log /tmp/x;",
        "error_log /tmp/x debug;",
        "rewrite_log on;",
        "ssl_certificate x;",
        "proxy_ssl_certificate x;",
        "proxy_store /tmp/x;",
        "client_body_temp_path /tmp/x;",
        "client_body_in_file_only on;",
        "proxy_cache_path /tmp/x keys_zone=a:1m;",
        "dav_methods PUT;",
        "listen 0.0.0.0:80;",
        "server_name bank.example;",
        "upstream a { server b; }",
        "resolver 8.8.8.8;",
        "map $a $b { default c; }",
        "location /a { proxy_pass http://169.254.169.254; }",
        "proxy_pass http://unix:/var/run/docker.sock:/;",
        "location /a { fastcgi_pass 127.0.0.1:9000; }",
        "location /a { content_by_lua_block { os.execute('x') } }",
        "content_by_lua_block { os.execute('x",
        "set_by_lua_block $a { return 1 }",
        "js_import x.js;",
        "perl_modules x;",
        "ssi on;",
        "env PATH;",
        "user root;",
        "} server { listen 80; ",
        "} http { ",
        "disable_symlinks off;",
        "limit_except GET { deny all; }",
    ],
)
@pytest.mark.parametrize("context", ["server", "location"])
def test_what_is_not_on_the_list_is_refused(text: str, context: Context) -> None:
    assert "devtls.toml:10: " in str(refusal(text, context))


@pytest.mark.parametrize(
    "text",
    [
        "expires 1h",
        "expires 1h }",
        "location /a { return 200;",
        "add_header X 'purr;",
        "set $a ${b;",
        ";",
        "{ }",
        "expires { }",
        "location /a;",
        "if ($a) return 200;",
        "return 200 \0;",
        "return 200 '\x1b[31m';",
        "expires\u00a01h;",
        "expires 1h;\u2028include x;",
        "return 200 \ud800;",
        "location / { " * DEEPEST + "}" * DEEPEST,
        "expires 1h; " * LONGEST,
    ],
)
def test_what_nginx_may_read_otherwise_or_not_at_all_is_refused(text: str) -> None:
    assert str(refusal(text)).startswith("devtls.toml:10: ")


@pytest.mark.parametrize(
    "spelt", [r"'a\'b'", r'"a\"b"', "'a;{}#b'", r"a\;b", r"a\\b", "'a\\\nb'", "'a\nb'", r"a\tb", '"$uri ${a}b"']
)
def test_a_value_means_what_it_meant_however_it_was_quoted(spelt: str) -> None:
    text = f"return 200 {spelt};"
    rendered = render_own(parse(text))
    assert read_as_nginx(rendered) == read_as_nginx(text)
    assert "\n" not in rendered


@pytest.mark.parametrize("path", ["public", "./public", "/home/me/cats/public", "dogs/../public"])
@pytest.mark.parametrize("name", ["root", "auth_basic_user_file"])
def test_a_path_is_the_projects(name: str, path: str) -> None:
    assert parse(f"{name} {path};")[0].parameters == ("/home/me/cats/public",)


@pytest.mark.parametrize(
    "path", ["..", "/", "/etc", "../cats-secret", "a/../../b", "$arg_x", "a/$uri", '"a\nb"', "${a}", "~/x/../../.."]
)
def test_a_path_that_leaves_the_project_is_refused(path: str) -> None:
    refusal(f"location /a/ {{ alias {path}/; }}")
    assert "devtls.toml:10: " in str(refusal(f"auth_basic_user_file {path};"))


def test_a_link_to_itself_is_no_bug_of_ours(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert parse("root loop;", project=tmp_path)


def test_a_link_out_of_the_project_is_refused_and_later_ones_are_not_followed(tmp_path: Path) -> None:
    project = tmp_path / "cats"
    project.mkdir()
    (project / "public").mkdir()
    (project / "out").symlink_to(tmp_path)
    (project / "in").symlink_to("public")
    assert "is outside the project" in str(refusal("root out;", project=project))
    assert tree_of(parse("root in;", project=project)) == [
        (["root", str(project / "public")], None),
        (["disable_symlinks", "on", f"from={project}"], None),
    ]


@pytest.mark.parametrize(
    ("location", "alias"),
    [("/a", "public/"), ("/a", "public"), ("/a/", "public"), ("^~ /a", "public/"), (r"~ \.js$", "public/")],
)
def test_an_alias_that_opens_more_than_its_folder_is_refused(location: str, alias: str) -> None:
    assert "more be reached" in str(refusal(f"location {location} {{ alias {alias}; }}"))


@pytest.mark.parametrize(("location", "alias"), [("/a/", "public/"), ("= /a", "public/a.html"), ("^~ /a/", "public/")])
def test_an_alias_that_opens_its_folder_only_is_allowed(location: str, alias: str) -> None:
    assert parse(f"location {location} {{ alias {alias}; }}")


@pytest.mark.parametrize(
    "text",
    [
        "try_files /../secret =404;",
        "try_files $uri../secret =404;",
        "try_files $uri./secret =404;",
        "try_files /a/.$uri =404;",
        "try_files $arg_file =404;",
        "try_files $uri$arg_file =404;",
        "try_files $uri /$arg_x;",
        "try_files $uri /../x?$args;",
        "index ../secret;",
        "index $arg_x;",
        "error_page 404 /../secret;",
        "error_page 404 $arg_x;",
        "error_page 404 secret;",
        "auth_request /../secret;",
        "auth_request $arg_x;",
        "rewrite ^ /../secret;",
        "rewrite ^ -secret/key;",
        "rewrite ^/x(.*)$ /$1 break;",
        "rewrite ^/x(.*)$ /$1; break;",
        "rewrite ^/x(.*)$ $1 last;",
        "if ($uri ~ x) { rewrite ^/x(.*)$ /$1 break; }",
    ],
)
def test_nginx_itself_never_goes_to_a_path_that_climbs(text: str) -> None:
    refusal(f"root public; location /a {{ root public; {text} }}")


def test_what_a_rewrite_computed_is_looked_at_before_a_file_is_served() -> None:
    (location,) = parse(
        "location /a/ { root public; rewrite ^/a/(.*)$ /b/$1 last; try_files $uri $uri/ $uri.html /a.html?$args; }"
    )
    assert location.block
    first = location.block[0]
    assert (first.name, first.parameters[:2]) == ("if", ("$uri", "~"))
    assert first.block == (Directive("return", ("404",), "devtls.toml:10"),)
    climbs = re.compile(first.parameters[2])
    assert all(map(climbs.search, ["/..", "/../x", "/a/../x", "../x", "x"]))
    assert not any(map(climbs.search, ["/", "/a", "/a..b", "/..a", "/a../b", "/.well-known/x"]))


@pytest.mark.parametrize("context", ["server", "location"])
@pytest.mark.parametrize("uri", ["$1", "a", "$args", "$a/b", "../a"])
@pytest.mark.parametrize("flag", ["", "last"])
def test_a_uri_cannot_be_rewritten_so_that_no_location_has_it(context: Context, uri: str, flag: str) -> None:
    assert "is not a plain path" in str(refusal(f"rewrite ^/x(.*)$ {uri} {flag};", context))
    assert "is not a plain path" in str(refusal(f"if ($a) {{ rewrite ^/x(.*)$ {uri} {flag}; }}", context))


def test_a_uri_for_a_folder_or_a_location_begins_with_a_slash() -> None:
    refusal("rewrite ^/x(.*)$ $1 break;")
    refusal("if ($a) { rewrite ^/x(.*)$ $1 break; }")
    refusal("location /x { root public; rewrite ^/x(.*)$ $1 break; }", "location")
    assert parse("rewrite ^/x(.*)$ /$1 break; rewrite ^/y(.*)$ $scheme://$host/$1; rewrite ^/z(.*)$ /$1;")


@pytest.mark.parametrize("pattern", [r"^/(a|b)/(.*)\.js$", r"(b)/|\.(j)s$", r"(.)\1|(.)/"])
def test_looking_at_a_uri_keeps_the_groups_of_a_locations_pattern(pattern: str) -> None:
    (location,) = parse(f'location ~ "{pattern}" {{ return 200; }}')
    assert location.block
    _uri, sign, looking = location.block[0].parameters
    assert sign == "!~"
    for path in ("/a/x.js", "/b/x.js", "/aa/b/.js"):
        found, again = re.search(pattern, path), re.search(looking, path)
        assert (again and again.groups()) == (found and found.groups())
    assert not any(re.search(looking, path) for path in ("/a/../x.js", "/..", "/b/../b/x.js", "b/x.js", "/aa/.."))


@pytest.mark.parametrize("pattern", ["(*UTF)a", "(?x) a # b"])
def test_a_pattern_that_cannot_be_part_of_another_is_not(pattern: str) -> None:
    (location,) = parse(f'location ~ "{pattern}" {{ return 200; }}')
    assert location.block
    assert location.block[0].parameters[1] == "~"


@pytest.mark.parametrize(
    "text",
    [
        "rewrite ^/api/(.*)$ /$1 break;",
        "location ~ ^/v[0-9]+/ { rewrite ^/v[0-9]+/(.*)$ /$1 break; }",
        "rewrite ^/api(/.*)$ $1 break;",
        "if ($request_method = POST) { rewrite ^/api(/.*)$ $1 break; }",
    ],
)
def test_a_prefix_is_taken_off_on_the_way_to_the_service(text: str) -> None:
    assert parse(text, "location")


@pytest.mark.parametrize(
    "name", ["$http_upgrade", "$devtls_upgrade", "$arg_x", "$sent_http_x", "$upstream_http_x", "a", "$a-b", "${a}"]
)
@pytest.mark.parametrize("directive", ["set", "auth_request_set"])
def test_a_variable_that_others_read_cannot_be_set(directive: str, name: str) -> None:
    refusal(f"{directive} {name} x;", "location")


@pytest.mark.parametrize("group", ["(?<http_upgrade>x)", "(?P<args>x)", "(?'host'x)"])
@pytest.mark.parametrize(
    "text",
    ["rewrite {} /a;", "location ~ {} {{ return 200; }}", "if ($uri ~ {}) {{ return 200; }}", "proxy_redirect ~{} /;"],
)
def test_a_group_with_a_name_would_be_a_variable_of_all_projects(text: str, group: str) -> None:
    assert "a named group" in str(refusal(text.format(f'"{group}"') if "if" not in text else text.format(group)))


def test_groups_without_a_name_and_lookbehinds_are_no_variables() -> None:
    assert parse("rewrite '^/(?:a|b)(?<!x)(?<=y)(.*)$' /$1;")


@pytest.mark.parametrize(
    "condition",
    ["(-f /etc/passwd)", "(!-e $request_filename)", "($a == b)", "($a = b c)", "(a = b)", "$a", "($a", "()"],
)
def test_an_if_compares_a_variable_and_asks_nothing_else(condition: str) -> None:
    assert "not a condition" in str(refusal(f"if {condition} {{ return 403; }}"))


@pytest.mark.parametrize(
    ("condition", "meant"),
    [
        ("($a)", ["$a"]),
        ("( $a )", ["$a"]),
        ("($a = b)", ["$a", "=", "b"]),
        ("($a = '')", ["$a", "=", ""]),
        ('($a != "b c")', ["$a", "!=", "b c"]),
        (r"($a ~* \.(js|css)$)", ["$a", "~*", r"\.(js|css)$"]),
    ],
)
def test_a_condition_is_the_same_with_quotes_and_without(condition: str, meant: list[str]) -> None:
    (found,) = parse(f"if {condition} {{ return 403; }}")
    assert list(found.parameters) == meant


@pytest.mark.parametrize(
    "text",
    ["add_header X y;", "proxy_read_timeout 1s;", "root a;", "if ($b) { return 200; }", "location / { return 200; }"],
)
def test_in_an_if_only_what_works_there_is_allowed(text: str) -> None:
    assert "does not work in an `if`" in str(refusal(f"if ($a) {{ {text} }}"))


@pytest.mark.parametrize("text", ["proxy_set_header X 'a\r\nHost: bank';", r"add_header X a\nSet-Cookie:b;"])
def test_no_header_is_smuggled_in_with_a_line_break(text: str) -> None:
    assert "line break" in str(refusal(text, "location"))


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("location ~*\\.js$ { return 200; }", ("~*", r"\.js$")),
        ("location =/a { return 200; }", ("=", "/a")),
        ("location = /a { return 200; }", ("=", "/a")),
        ("location ^~/a { return 200; }", ("^~", "/a")),
        ("location /a { return 200; }", ("/a",)),
        ("location @a { return 200; }", ("@a",)),
    ],
)
def test_a_location_is_the_same_with_a_space_behind_its_sign_and_without(
    text: str, parameters: tuple[str, ...]
) -> None:
    assert parse(text)[0].parameters == parameters


@pytest.mark.parametrize("said", ["", "a", "a b", "= a", "@devtls_page", "~", "/a /b", "= /a /b"])
def test_what_is_no_location_of_the_users_is_refused(said: str) -> None:
    refusal(f"location {said} {{ return 200; }}")


def test_a_location_of_a_domain_must_answer() -> None:
    assert "has nothing that answers" in str(refusal(r"location ~ \.js$ { expires 1h; }"))
    assert parse(r"location ~ \.js$ { root public; expires 1h; }")
    assert parse(r"root public; location ~ \.js$ { expires 1h; }")
    assert parse(r"location ~ /\. { deny all; }")


def test_a_location_in_a_route_that_answers_nothing_passes_on_to_its_service() -> None:
    route = parse(r"expires 1h; location ~ \.js$ { expires 1d; } location /api/a/ { root public; }", "location")
    found = tree_of(for_location((), route, [("set", "$devtls_upstream", "0"), ("proxy_pass", "http://devtls_0")]))
    assert found[1] == (
        ["location", "~", r"\.js$"],
        [
            (["set", "$devtls_upstream", "0"], None),
            (["proxy_pass", "http://devtls_0"], None),
            (["expires", "1d"], None),
        ],
    )
    assert "proxy_pass" not in names_in(found[2:])


def test_an_exact_location_has_no_others_inside() -> None:
    route = parse(r"expires 1h; location ~ \.js$ { expires 1d; }", "location")
    assert tree_of(for_location((), route, [], is_exact=True)) == [(["expires", "1h"], None)]


def test_what_a_location_would_drop_of_its_domain_is_repeated_and_the_route_is_nearer() -> None:
    domain = parse("proxy_set_header X-A 1; proxy_set_header X-B 1; error_page 404 /a; proxy_read_timeout 1s; gzip on;")
    route = parse("proxy_set_header x-b 2; error_page 404 /b;", "location")
    assert tree_of(for_location(domain, route, [])) == [
        (["proxy_set_header", "x-b", "2"], None),
        (["error_page", "404", "/b"], None),
        (["proxy_set_header", "X-A", "1"], None),
        (["error_page", "404", "/a"], None),
    ]


def location_text() -> str:
    """One of our own locations as it is rendered."""
    route, way = Route("/", "web"), Way(0, Scheme.HTTP, "devtls_k_0")
    return render_location(route, way, Manners(), find_templates({}))


def test_what_the_user_says_replaces_what_the_template_says() -> None:
    template = location_text()
    said = parse(
        "proxy_set_header host a; proxy_read_timeout 5s; proxy_buffer_size 4k; set $a b; error_page 404 /a;", "location"
    )
    left = leave_out(template, settings_of(said))
    gone = [line.strip() for line in template.split("\n") if line not in left.split("\n")]
    assert gone == [
        "proxy_set_header Host $http_host;",
        "proxy_read_timeout 1h;",
        "proxy_buffer_size 16k;",
        "proxy_buffers 8 16k;",
    ]


def test_saying_nothing_leaves_the_template_as_it_is() -> None:
    template = location_text()
    said = parse("location ~ x { expires 1h; } if ($a) { return 200; } add_header A b;", "location")
    assert leave_out(template, settings_of(said)) == template


CONFIG = """\
http {
    server {
        add_header "A" "b"; # devtls.toml:3
        proxy_buffer_size "1m"; # devtls.toml:4
        return "200" "; # devtls.toml:99"; # devtls.toml:5
        set "$a" "${purr}"; # devtls.toml:6
        proxy_set_header "A" "$a$"; # devtls.toml:7
        proxy_pass http://x; # ours, at noon
    }
}
"""


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ('invalid "b" in /a folder/nginx.conf:3', 'devtls.toml:3: invalid "b"'),
        ("it is wrong in /x/nginx.conf:5", "devtls.toml:5: it is wrong"),
        ('invalid "a\nb" in /x/nginx.conf:5', 'devtls.toml:5: invalid "a b"'),
        ('unknown "purr" variable', 'devtls.toml:6: unknown "purr" variable'),
        ('"proxy_busy_buffers_size" must be less than the size of all "proxy_buffers" in /x/nginx.conf:9',
         'devtls.toml:4: "proxy_busy_buffers_size" must be less than the size of all "proxy_buffers"'),
        ("it is ours in /x/nginx.conf:8", None),
        ("it is nowhere in /x/nginx.conf:70", None),
        ('unknown "meow" variable', None),
        ("invalid variable name in /x/nginx.conf:9", "devtls.toml:7: invalid variable name"),
        ('the closing bracket in "cat" variable is missing in /x/nginx.conf:10',
         'devtls.toml:7: the closing bracket in "cat" variable is missing'),
    ],
)  # fmt: skip
def test_what_nginx_says_is_told_at_the_users_line(said: str, place: str | None) -> None:
    error = (
        "nginx: [warn] something in /x/nginx.conf:3\n"
        f"nginx: [emerg] {said}\nnginx: configuration file /x/nginx.conf test failed"
    )
    assert locate(error, CONFIG) == place


def test_a_file_cannot_be_called_so_that_its_mark_is_another_line() -> None:
    text = OwnText("expires 1h;", 'a\n"; # b:9; {.toml', 3, "server", PROJECT)
    (line,) = render_own(parse_own(text)).split("\n")
    found = locate("nginx: [emerg] no in /x:1", line)
    assert found
    assert found.endswith(".toml:3: no")


def test_the_page_lists_exactly_what_is_allowed() -> None:
    allowed = LIST.split("## Allowed")[1].split("\n## ")[0]
    rows = [line.split("|") for line in allowed.split("\n") if line.startswith("| ")][1:]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row[2])]
    assert sorted(listed) == sorted(ALLOWED)


def test_the_page_tells_what_is_refused_and_why() -> None:
    refused = LIST.split("## Refused")[1].split("\n## ")[0]
    rows = [line.split("|") for line in refused.split("\n") if line.startswith("| `")]
    told = {why for _names, why, _cure in REFUSED}
    assert {row[2].strip() for row in rows} == told
    for row in rows:
        for name in re.findall(r"`(\w+)`", row[1]):
            assert f"`{name}` is not allowed here: {row[2].strip()}" in str(refusal(f"{name} x;"))


def test_the_page_shows_what_is_allowed() -> None:
    for language, text in re.findall(r"```nginx (server|location)\n(.*?)```", LIST, re.DOTALL):
        assert parse(text, language)
    assert "```nginx server" in LIST
    assert "```nginx location" in LIST


# Values that mean something to nginx, to the lexer or to a reader.
values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12) | st.sampled_from(
    [
        "",
        "$uri",
        "${uri}",
        "$",
        "${",
        "}",
        "{",
        ";",
        "#",
        '"',
        "'",
        "\\",
        "\\n",
        "a\nb",
        "\r\n",
        "\t",
        "; include x;",
        "$1",
        "200",
        "1h",
        "on",
    ]
)
names = st.sampled_from(sorted(ALLOWED - {"if", "location", "types"}))


def spell(value: str, how: int) -> str:
    escaped = value.replace("\\", "\\\\")
    match how:
        case 0:
            return '"' + escaped.replace('"', '\\"') + '"'
        case 1:
            return "'" + escaped.replace("'", "\\'") + "'"
        case 2:
            return re.sub(r"([\s;{}\"'#\\])", r"\\\1", value) or '""'
        case _:
            return value


spelt = st.builds(spell, values, st.integers(0, 2)) | values
simple = st.builds(lambda name, words: f"{name} {' '.join(words)};", names, st.lists(spelt, max_size=3))
useful = st.sampled_from(
    [
        "return 200 ok;", "rewrite ^/a/(.*)$ /$1 last;", "set $a '$uri';", "root public;", "root ../x;", "expires 1h;",
        "deny all;",
        "add_header X-A 'a;b' always;", "types { text/css css; }", 'if ($a ~ "b c") { return 403; }', "# purr\n",
        "try_files $uri =404;", "proxy_set_header Host a;", "proxy_read_timeout 5s;", "sub_filter a b;",
        "error_page 404 /a;",
    ]
)  # fmt: skip
lines = simple | useful
block = st.builds(
    lambda head, inside: f"{head} {{\n{chr(10).join(inside)}\n}}",
    st.sampled_from(
        [
            "location /a/",
            r"location ~* \.(js|css)$",
            "location = /a",
            "if ($a)",
            "if ($a = 'b')",
            "types",
            "server",
            "location",
        ]
    ),
    st.lists(lines | st.builds(lambda inside: f"location /a/b/ {{ {inside} }}", lines), max_size=3),
)
structured = st.lists(lines | block, max_size=4).map("\n".join)
pieces = st.lists(
    st.sampled_from(
        [
            *";{}#\"'\\$ \n\t()~=",
            "${",
            "if",
            "location",
            "return",
            "include",
            "types",
            "expires",
            "content_by_lua_block",
            "set_by_lua_block",
            "1h",
            "/a",
            "$uri",
            "é",
        ]
    )
).map("".join)
texts = structured | pieces | st.builds("{}{}{}".format, structured, pieces, structured)
contexts: st.SearchStrategy[Context] = st.sampled_from(["server", "location"])


@settings(deadline=None, max_examples=400)
@given(text=texts, context=contexts)
def test_any_text_is_refused_or_read_by_nginx_as_what_was_checked(text: str, context: Context) -> None:
    try:
        directives = parse(text, context)
    except UsageError:
        return
    rendered = render_own(directives)
    tree = read_as_nginx(rendered)
    assert tree == tree_of(directives)
    assert names_in(tree) <= ALLOWED | {"disable_symlinks", "text/css"}
    for path in paths_in(directives):
        assert Path(path).is_relative_to(PROJECT)
        assert ".." not in path
        assert "$" not in path
    assert all(re.search(r" # devtls\.toml:\d+$", line) for line in rendered.split("\n") if rendered)


@settings(deadline=None, max_examples=200)
@given(words=st.lists(values, min_size=1, max_size=4))
def test_any_value_is_one_word_on_one_line(words: list[str]) -> None:
    rendered = render_own([Directive("return", tuple(words), "devtls.toml:1")])
    assert read_as_nginx(rendered) == [(["return", *words], None)]
    assert "\n" not in rendered
