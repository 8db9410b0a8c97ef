"""Hostile text is shown harmlessly."""

from __future__ import annotations

from markupsafe import Markup

from jobfleet.web.display import age, ago, block, breaks, call_text, shown
from tests.support.each import each

EFFECTS = {
    "escape sequence": ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
    "C1": ("a\x9bb", r"a\x9bb"),
    "NUL": ("a\0b", r"a\x00b"),
    "right to left": ("gnp.\u202eexe", r"gnp.\u202eexe"),
    "isolate": ("a\u2066b", r"a\u2066b"),
    "zero width": ("pay\u200bpal", r"pay\u200bpal"),
    "line separator": ("a\u2028b", r"a\u2028b"),
    "half of a character": ("a\ud800b", r"a\ud800b"),
    "new line": ("a\nb\rc", r"a\nb\rc"),
    "plain": ("Grüße – 你好", "Grüße – 你好"),
}


@each("name", EFFECTS)
def test_a_character_with_an_effect_becomes_an_escape(name: str) -> None:
    text, wanted = EFFECTS[name]

    assert shown(text) == wanted
    shown(text).encode("utf-8")


def test_a_pile_of_marks_ends_after_four() -> None:
    assert shown("e" + "\u0301" * 50).startswith("e" + "\u0301" * 4 + r"\u0301")


def test_megabytes_are_cut_and_counted() -> None:
    assert shown("x" * 5_000_000) == "x" * 300 + "… (5,000,000 characters)"
    assert len(block("y\n" * 5_000_000)) < 70_000
    assert len(shown(10**400)) < 400


def test_a_block_keeps_lines_and_escapes_html() -> None:
    assert block("<b>\n\ta & \u202e") == Markup("&lt;b&gt;\n\ta &amp; \\u202e")


@each("value, text", [(None, ""), (True, "yes"), (1234567, "1,234,567"), (0.5, "0.5")])
def test_values_of_other_types(value: object, text: str) -> None:
    assert shown(value) == text


def test_arguments_are_one_per_line() -> None:
    assert call_text([1, "<"], {"to": "x"}) == Markup("1\n&#34;&lt;&#34;\nto = &#34;x&#34;")
    assert call_text(None, None) == "no arguments"


def test_a_name_of_a_function_may_break_after_a_dot_and_an_underscore() -> None:
    assert breaks("a.b_c:d") == Markup("a.<wbr>b_<wbr>c:<wbr>d")
    assert breaks("__init__..x<b>.") == Markup("__<wbr>init__..<wbr>x&lt;b&gt;.")


def test_a_time_has_its_exact_form_beside_it(in_berlin: None) -> None:
    exact = "2026-11-27 17:04:05 UTC"
    assert ago("2026-11-27T17:04:05+00:00") == Markup(
        f'<time datetime="2026-11-27T17:04:05+00:00" title="{exact}">{exact}</time>'
    )
    assert age("2026-11-27T17:04:05+00:00") == Markup(
        f'<time data-lasts datetime="2026-11-27T17:04:05+00:00" title="{exact}">{exact}</time>'
    )
    assert age(None) == "–"
    assert ago("no time") == "no time"
    assert ago(None) == "–"
