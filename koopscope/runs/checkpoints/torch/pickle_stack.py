"""What the machine for pickles works on: a stack with marks, a memo and the containers on them.

Everything is paid for from a budget before it is allocated.
"""

from __future__ import annotations

from typing import Any

from koopscope.runs.checkpoints.torch.inert import Bulk, Inert, Name
from koopscope.runs.checkpoints.torch.window import DamagedError

#: What one pickle may build, in bytes roughly as Python counts them.
BUDGET = 128 * 2**20

_DEEPEST_KEY = 4
_PLAIN_KEYS = (str, bytes, float, bool, type(None))


class Stack:
    """The values that a pickle has built so far."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._budget = BUDGET

    def _pay(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            raise DamagedError(f"its pickle would take more than {BUDGET >> 20} MiB of memory")

    def _push(self, value: Any, size: int) -> None:
        self._pay(size + 8)
        self._stack.append(value)

    def _pop(self) -> Any:
        floor = self._marks[-1] if self._marks else 0
        if len(self._stack) <= floor:
            raise DamagedError("its pickle takes from an empty stack")
        return self._stack.pop()

    def _top(self) -> Any:
        floor = self._marks[-1] if self._marks else 0
        if len(self._stack) <= floor:
            raise DamagedError("its pickle takes from an empty stack")
        return self._stack[-1]

    def _since_mark(self) -> list[Any]:
        if not self._marks:
            raise DamagedError("its pickle lacks a mark")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    # Containers

    def _mark(self) -> None:
        self._pay(8)
        self._marks.append(len(self._stack))

    def _pop_or_unmark(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def _pop_mark(self) -> None:
        self._since_mark()

    def _dup(self) -> None:
        self._push(self._top(), 0)

    def _empty_tuple(self) -> None:
        self._push((), 0)

    def _tuple(self, count: int) -> None:
        values = tuple(self._pop() for _ in range(count))
        self._push(values[::-1], 48 + 8 * count)

    def _tuple_from_mark(self) -> None:
        values = self._since_mark()
        self._push(tuple(values), 48 + 8 * len(values))

    def _empty_list(self) -> None:
        self._push([], 96)

    def _list_from_mark(self) -> None:
        values = self._since_mark()
        self._push(values, 64 + 8 * len(values))

    def _empty_dict(self) -> None:
        self._push({}, 240)

    def _dict_from_mark(self) -> None:
        self._push({}, 240)
        self._store(self._stack.pop(), self._since_mark())

    def _empty_set(self) -> None:
        self._push(set(), 240)

    def _frozenset_from_mark(self) -> None:
        values = self._since_mark()
        self._push(frozenset(map(plain_key, values)), 240 + 64 * len(values))

    def _append(self) -> None:
        value = self._pop()
        self._extend(self._top(), [value])

    def _appends(self) -> None:
        values = self._since_mark()
        self._extend(self._top(), values)

    def _extend(self, target: Any, values: list[Any]) -> None:
        self._pay(16 * len(values))
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Inert):
            target.members.extend(values)

    def _add_items(self) -> None:
        values = self._since_mark()
        target = self._top()
        self._pay(64 * len(values))
        if isinstance(target, set):
            target.update(map(plain_key, values))
        elif isinstance(target, Inert):
            target.members.extend(values)

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set(self._top(), [key, value])

    def _set_items(self) -> None:
        values = self._since_mark()
        self._set(self._top(), values)

    def _store(self, target: dict[Any, Any], values: list[Any]) -> None:
        self._set(target, values)
        self._stack.append(target)

    def _set(self, target: Any, values: list[Any]) -> None:
        if len(values) % 2:
            raise DamagedError("its pickle stores a key without a value")
        self._pay(64 * len(values))
        into = target.items if isinstance(target, Inert) else target
        if isinstance(into, dict):
            for key, value in zip(values[::2], values[1::2], strict=True):
                into[plain_key(key)] = value

    # The memo

    def _get(self, index: int) -> None:
        try:
            value = self._memo[index]
        except KeyError:
            raise DamagedError(
                f"its pickle asks for entry {index} of its memo, which is empty"
            ) from None
        self._push(value, 0)

    def _put(self, index: int) -> None:
        self._pay(104)
        self._memo[index] = self._top()

    def _memoize(self) -> None:
        self._put(len(self._memo))


def plain_key(value: Any, depth: int = 0) -> Any:
    """Return a key that is quick to hash: what could be made slow stands for itself alone."""
    if isinstance(value, (*_PLAIN_KEYS, Name, Inert, Bulk)):
        return value
    if isinstance(value, int) and -(2**60) < value < 2**60:
        return value
    if isinstance(value, tuple) and len(value) <= 16 and depth < _DEEPEST_KEY:
        return tuple(plain_key(part, depth + 1) for part in value)
    return Inert(None, (value,))
