"""A small model of Redis's keys that follows an append-only file; it knows the commands of jobfleet's scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import nsmallest

Words = Sequence[bytes]
SORTED_SET_FLAGS = {b"NX", b"XX", b"GT", b"LT", b"CH"}


class Replica:
    """Keys and values.

    Attributes:
        sets: Sorted sets.
        hashes: Hashes.
        texts: Strings.
        ignored: Commands that were seen and are not modelled.
    """

    def __init__(self) -> None:
        self.sets: dict[str, dict[str, float]] = {}
        self.hashes: dict[str, dict[str, str]] = {}
        self.texts: dict[str, str] = {}
        self.ignored: set[str] = set()
        self._known: dict[str, Callable[[Words], None]] = {
            "SET": self._set, "SETEX": self._set_later, "PSETEX": self._set_later,
            "MSET": self._set_many, "MSETNX": self._set_many, "MSETEX": self._set_counted,
            "DEL": self._delete, "UNLINK": self._delete, "GETDEL": self._delete,
            "ZADD": self._add, "ZREM": self._remove, "ZPOPMIN": self._pop,
            "ZREMRANGEBYRANK": self._remove_ranks, "ZREMRANGEBYSCORE": self._remove_scores, "ZINCRBY": self._raise,
            "HSET": self._put, "HMSET": self._put, "HSETNX": self._put, "HDEL": self._drop, "HINCRBY": self._count,
            "FLUSHALL": self._flush, "FLUSHDB": self._flush,
        }  # fmt: skip

    def apply(self, words: Words) -> None:
        """Execute one command."""
        name = words[0].decode().upper()
        if do := self._known.get(name):
            do(words)
        else:
            self.ignored.add(name)

    def _set(self, words: Words) -> None:
        self.texts[text(words[1])] = text(words[2])

    def _set_later(self, words: Words) -> None:
        self.texts[text(words[1])] = text(words[3])

    def _set_many(self, words: Words) -> None:
        self.texts.update(zip(map(text, words[1::2]), map(text, words[2::2]), strict=True))

    def _set_counted(self, words: Words) -> None:
        pairs = words[2 : 2 + 2 * int(words[1])]
        self.texts.update(zip(map(text, pairs[::2]), map(text, pairs[1::2]), strict=True))

    def _delete(self, words: Words) -> None:
        for key in map(text, words[1:]):
            for kind in (self.sets, self.hashes, self.texts):
                kind.pop(key, None)

    def _add(self, words: Words) -> None:
        members = self.sets.setdefault(text(words[1]), {})
        at, flags = 2, set()
        while words[at].upper() in SORTED_SET_FLAGS:
            flags.add(words[at].upper())
            at += 1
        for score, name in zip(words[at::2], words[at + 1 :: 2], strict=True):
            member, value = text(name), float(score)
            before = members.get(member)
            if (b"NX" in flags and before is not None) or (b"XX" in flags and before is None):
                continue
            if before is not None and ((b"LT" in flags and value >= before) or (b"GT" in flags and value <= before)):
                continue
            members[member] = value

    def _remove(self, words: Words) -> None:
        members = self.sets.get(text(words[1]), {})
        for member in map(text, words[2:]):
            members.pop(member, None)

    def _lowest(self, key: bytes, count: int) -> list[str]:
        members = self.sets.get(text(key), {})
        ranked = ((score, member.encode("utf-8", "surrogateescape")) for member, score in members.items())
        return [text(member) for _, member in nsmallest(count, ranked)]

    def _pop(self, words: Words) -> None:
        for member in self._lowest(words[1], int(words[2]) if len(words) > 2 else 1):
            del self.sets[text(words[1])][member]

    def _remove_ranks(self, words: Words) -> None:
        first, last = int(words[2]), int(words[3])
        members = self.sets.get(text(words[1]), {})
        for member in self._lowest(words[1], len(members) if last == -1 else last + 1)[first:]:
            del members[member]

    def _remove_scores(self, words: Words) -> None:
        low, high = (float(word.decode().lstrip("(")) for word in words[2:4])
        members = self.sets.get(text(words[1]), {})
        for member in [member for member, score in members.items() if low <= score <= high]:
            del members[member]

    def _raise(self, words: Words) -> None:
        members = self.sets.setdefault(text(words[1]), {})
        member = text(words[3])
        members[member] = members.get(member, 0.0) + float(words[2])

    def _put(self, words: Words) -> None:
        fields = self.hashes.setdefault(text(words[1]), {})
        fields.update(zip(map(text, words[2::2]), map(text, words[3::2]), strict=True))

    def _drop(self, words: Words) -> None:
        fields = self.hashes.get(text(words[1]), {})
        for field in map(text, words[2:]):
            fields.pop(field, None)

    def _count(self, words: Words) -> None:
        fields = self.hashes.setdefault(text(words[1]), {})
        fields[text(words[2])] = str(int(fields.get(text(words[2]), "0")) + int(words[3]))

    def _flush(self, words: Words) -> None:
        for kind in (self.sets, self.hashes, self.texts):
            kind.clear()


def text(word: bytes) -> str:
    """Bytes as a text that keeps every byte."""
    return word.decode("utf-8", "surrogateescape")
