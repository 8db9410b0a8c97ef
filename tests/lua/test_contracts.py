"""Every script keeps the contract that its header states, and its tests cover it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from jobfleet.errors import FleetFull, JobfleetError, ScriptContractError
from jobfleet.store import script as scripts
from jobfleet.store.calls import (
    control,
    inspect,
)
from jobfleet.store.script import Field, entry_scripts, load, names
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.lua.cases import NOUNS, cases, scripts_of
from tests.lua.permitted import Permitting
from tests.lua.samples import ARGUMENTS_AN_ITEM, IDS, LETTERED, SAMPLES, SHARES_KEYS
from tests.lua.world import KEYS, LANE, PASSWORD, USER, Eavesdropper, World, mutated
from tests.support.each import each, see_each

LUA = Path(scripts.__file__).parent / "lua"
FILES = sorted(LUA.glob("**/*.lua"))


def code(path: Path) -> str:
    """A file without its comments."""
    return re.sub(r"--.*", "", path.read_text(encoding="utf-8"))


def keys_an_item(field: Field) -> int:
    words = {"two": 2, "three": 3, "four": 4, "five": 5, "seven": 7}
    return next((words[word] for word in words if f"{word} keys per item" in field.note), 1)


def test_every_script_has_a_sample_and_a_file_of_tests() -> None:
    assert sorted(SAMPLES) == names()
    assert all(cases(name) for name in names())


@each("name", names())
def test_its_header_tells_what_it_does_in_one_sentence(name: str) -> None:
    header = load(name).header

    assert header.summary.endswith(".")
    assert load(name).words
    assert set(header.flags) <= {"allow-oom", "no-writes"}
    assert load(name).read_only == ("no-writes" in header.flags)


@each("name", names())
def test_keys_and_arguments_are_numbered_without_a_gap_and_only_the_last_is_open(name: str) -> None:
    for fields in (load(name).header.keys, load(name).header.argv):
        following = 1
        for field in fields:
            assert field.first == following
            assert field.last is not None or field is fields[-1]
            following = (field.last or field.first) + 1


@each("name", names())
def test_its_body_uses_no_number_that_the_header_does_not_name(name: str) -> None:
    header, text = load(name).header, code(LUA / entry_scripts()[name] / f"{name}.lua")

    for table, fields in (("KEYS", header.keys), ("ARGV", header.argv)):
        open_from = next((field.first for field in fields if field.last is None), None)
        most = keys_an_item(fields[-1]) if fields and table == "KEYS" else ARGUMENTS_AN_ITEM.get(name, 0)
        singles = {field.first for field in fields if field.last is not None}
        for number in map(int, re.findall(rf"{table}\[(\d+)\]", text)):
            assert number in singles
        for base, factor in re.findall(rf"{table}\[(\d+) \+ (?:(\d+) \* )?i\]", text):
            first = int(base) + int(factor or 1)
            assert open_from is not None
            assert open_from <= first < open_from + most


@each("name", names())
def test_its_builder_passes_as_many_keys_and_arguments_as_the_header_declares(name: str) -> None:
    header, call = load(name).header, SAMPLES[name]

    fixed = [field for field in header.keys if field.last is not None]
    items = [field for field in header.keys if field.last is None]
    assert call.script is load(name)
    assert len(call.keys) == len(fixed) + sum(keys_an_item(field) * len(IDS) for field in items)
    fixed = [field for field in header.argv if field.last is not None]
    an_item = ARGUMENTS_AN_ITEM.get(name, 0)
    assert len(call.args) == len(fixed) + an_item * len(IDS)
    assert bool(an_item) == any(field.last is None for field in header.argv)


@each("name", names())
def test_its_builder_passes_keys_in_the_order_of_the_header(name: str) -> None:
    header, call = load(name).header, SAMPLES[name]
    tag = KEYS.tag if name in SHARES_KEYS else LANE.tag
    patterns = [re.sub(r"<[a-z]+>", ".*", field.name) for field in header.keys if field.last is not None]
    for field in header.keys:
        if field.last is None:
            kinds = re.findall(r"(?:[a-z]+:)+<id>", field.note) or [field.name]
            patterns += [re.sub(r"<[a-z]+>", re.escape(job_id), kind) for job_id in IDS for kind in kinds]

    for key, pattern in zip(call.keys, patterns, strict=True):
        assert re.fullmatch(re.escape(tag) + pattern, key if isinstance(key, str) else key.decode())


@each("path", FILES)
def test_no_file_searches_keys_or_reads_the_clock_by_itself(path: Path) -> None:
    commands = set(re.findall(r"redis\.p?call\('([A-Za-z]+)'", code(path)))

    searching = {"KEYS", "SCAN", "HSCAN", "SSCAN", "ZSCAN", "RANDOMKEY"} & commands
    assert searching == (
        {"HSCAN"} if path.stem in {"queues", "recent", "sampled"} else set()
    )  # one bounded page of one hash
    assert ("TIME" in commands) == (path.stem in {"clock", "stamp"})
    assert not re.search(r"\bp?call\((?!')", code(path)), "commands are spelled out"
    aliased = re.findall(r"local (.*) = .*redis\.p?call\b(?!\()", code(path))
    assert all(names.split(",")[0] == "call" for names in aliased), "an alias has a name that commands_of knows"


@each("name", names())
def test_it_compiles_and_sets_no_global(name: str, raw: redis.Redis) -> None:
    sha = raw.script_load(load(name).source.decode())

    assert sha in (load(name).sha, load(name).sha.encode())
    assert not re.search(r"^\s*function ", load(name).plain.decode(), re.MULTILINE)


@contextmanager
def listening(redis_url: str) -> Iterator[tuple[Store, dict[str, list[Any]]]]:
    """A store of the user, and what each script answers it."""
    replies: dict[str, list[Any]] = {}
    store = Store(target(redis_url.replace("://", f"://{USER}:{PASSWORD}@", 1)), patience=5.0)
    store.link = Eavesdropper(store.link, replies)
    yield store, replies
    store.close()


@pytest.mark.parametrize("noun", NOUNS)
def test_every_word_and_letter_under_returns_occurs_in_its_cases_as_a_user_with_the_derived_permissions(
    noun: str, redis_url: str, raw: redis.Redis
) -> None:
    permitting = Permitting(raw)

    def look(name: str) -> None:
        with listening(redis_url) as (store, replies):
            for case in cases(name):
                raw.flushall()
                try:
                    case.run(World(store, raw, permitting))
                except Exception:
                    if not case.flaw:
                        raise
        said = {word for reply in replies[name] if isinstance(reply, list) for word in words_of(name, reply)}
        assert said == words_declared(name)

    see_each("script", scripts_of(noun, names()), look)


def words_of(name: str, reply: list[Any]) -> set[str]:
    word = reply[0].decode()
    inner: set[str] = set()
    if name == "enqueue":
        inner = set(reply[2].decode())
    elif name in LETTERED and len(reply) > 1:
        inner = set(reply[-1].decode())
    elif name == "replay":
        inner = {answer.decode().partition(":")[0] for answer in reply[2]}
    elif name == "status":
        inner = {row[0].decode() for row in reply[2:]}
    return {word, *inner}


def words_declared(name: str) -> set[str]:
    text = "\n".join(load(name).header.returns)
    words = {word.decode() for word in load(name).words}
    if "letters}" in text:
        return words | set(re.findall(r"[ ,]([a-z]) [a-z]", text.partition("letters}")[2]))
    if name == "replay":
        return words | set(re.findall(r"([a-z]+)[,:]", text.rpartition("}}")[2])) | {"unknown"}
    if name == "status":
        return words | set(re.findall(r"\{([a-z]+)[,}]", text)) - {"word"}
    return words


@each("name", names())
def test_what_it_emits_the_journal_keeps(name: str) -> None:
    header = load(name).header

    if header.emits not in {"-", "progressed"}:
        assert b"write_journal(" in load(name).plain, "a consumer of the journal must miss nothing"
        assert {"journal", "totals"} <= {field.name for field in header.keys}


def test_a_user_who_may_touch_what_is_declared_is_refused_what_is_not(world: World, floor: str) -> None:
    call = inspect.status(world.lane, IDS)
    spy = mutated(call.script, "local tag = ARGV[1]", "local tag = ARGV[1]\nredis.call('GET', tag .. 'undeclared')")

    if "as_granted" in floor:
        with pytest.raises(JobfleetError, match="access"):
            world.run(call._replace(script=spy))
    else:
        world.run(call._replace(script=spy))


def test_a_key_that_is_only_declared_as_read_cannot_be_written(world: World, floor: str) -> None:
    call = control.resume(world.lane)
    vandal = mutated(call.script, "local tag = ARGV[1]", "local tag = ARGV[1]\nredis.call('DEL', tag .. 'ready:0')")

    if "as_granted" in floor:
        with pytest.raises(JobfleetError, match="access"):
            world.run(call._replace(script=vandal))
    else:
        world.run(call._replace(script=vandal))


def test_a_cluster_refuses_a_key_of_another_slot(world: World, floor: str) -> None:
    call = inspect.counts(world.lane)
    stray = mutated(call.script, "local tag = ARGV[1]", "local tag = '{elsewhere}:'")

    if floor == "as_root" and not world.is_whole_cluster:
        world.run(call._replace(script=stray))
    else:
        with pytest.raises(JobfleetError):
            world.run(call._replace(script=stray))


@each("name", names())
def test_full_memory_refuses_new_jobs_and_still_drains(name: str, redis_url: str, raw: redis.Redis) -> None:
    raw.flushall()
    header = load(name).header
    store = Store(target(redis_url))
    raw.config_set("maxmemory", 1)
    try:
        if "allow-oom" in header.flags or load(name).read_only:
            store.run(SAMPLES[name])
        else:
            assert name in {
                "block", "block_many", "debounce", "edit", "enqueue", "enqueue_plain", "fire", "keep_flow",
                "keep_letters", "open_rescue", "plan_rescue", "replace", "replay", "schedule",
            }  # fmt: skip
            with pytest.raises(FleetFull):
                store.run(SAMPLES[name])
        store.run(SAMPLES[name].exempt())
    finally:
        raw.config_set("maxmemory", 0)
        store.close()


def test_a_script_that_reads_only_cannot_write(world: World) -> None:
    call = inspect.counts(world.lane)
    writer = mutated(call.script, "local tag = ARGV[1]", "local tag = ARGV[1]\nredis.call('DEL', KEYS[1])")

    with pytest.raises(JobfleetError, match=r"[Ww]rite|access"):
        world.run(call._replace(script=writer))


@pytest.mark.parametrize(
    ("old", "new"),
    [("-- FLAGS", "-- FLUGS"), ("-- pause: ", "-- pose: "), ("-- KEYS    1 conf", "-- KEYS    one conf")],
)
def test_a_header_without_the_form_is_refused(old: str, new: str) -> None:
    text = (LUA / "control" / "pause.lua").read_text(encoding="utf-8")
    assert old in text

    with pytest.raises(ScriptContractError, match=r"pause\.lua"):
        scripts.parse_header("pause", text.replace(old, new, 1))
