"""The outbox in plain dictionaries, written by hand from what it promises.

It shares no code with the engine and knows no SQL. Time is a number of seconds. A claim is not
predicted but judged: whatever was taken must have been free to take, and no more may be left behind
than the limit explains.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

Id = tuple[str, int]  # handler, message id


@dataclass
class Delivery:
    """One duty. `due` None: since it was published; `waited`: a due date ahead is a wait."""

    key: str | None
    position: int
    due: int | None = None
    waited: bool = False
    token: str | None = None
    until: int = 0
    begun: bool = False
    unknown: bool = False
    lone: int = 0
    delivery_id: int | None = None


@dataclass
class ModelOutbox:
    """`handlers`: name -> (effect, order); `routes`: topic -> handler names."""

    handlers: dict[str, tuple[str, str]]
    routes: dict[str, list[str]]
    lease_seconds: int
    call_seconds: int
    lone_claims_max: int
    window_seconds: int
    blocking: frozenset[str] = frozenset()
    newest: dict[tuple[str, str | None], tuple[int, int]] = field(default_factory=dict)
    now: int = 0
    waiting: dict[Id, Delivery] = field(default_factory=dict)
    dead: dict[Id, Delivery] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    overtaken: Counter[str] = field(default_factory=Counter)
    dedup: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def publish(
        self,
        topic: str,
        message_id: int,
        *,
        key: str | None = None,
        sequence: int | None = None,
        dedup_key: str | None = None,
        due: int | None = None,
    ) -> tuple[int, bool, int]:
        """The receipt to expect: message id, duplicate, deliveries."""
        if dedup_key is not None:
            winner, expires = self.dedup.get((topic, dedup_key), (0, self.now))
            if expires > self.now:
                return winner, True, 0
            self.dedup[topic, dedup_key] = (message_id, self.now + self.window_seconds)
        position = message_id if sequence is None else sequence
        for handler in self.routes[topic]:
            ordered = self.handlers[handler][1] != "none"
            self.waiting[handler, message_id] = Delivery(
                key=key if ordered else None,
                position=position,
                due=None if due is None else self.now + due,
            )
        return message_id, False, len(self.routes[topic])

    def claim(self, handler: str, taken: dict[int, tuple[int, str]], limit: int) -> None:
        """Judge a claim and accept it: message id -> (delivery id, token)."""
        order = self.handlers[handler][1]
        if order == "newest":
            self._claim_newest(handler, taken, limit)
            return
        free = {i for i in self._of(handler) if self._is_free(i)}
        if order == "keyed":
            free = {i for i in free if self._is_head(i)}
        assert {(handler, message) for message in taken} <= free
        if order == "keyed":
            keyless = self._keyless(free, limit)
            heads = sum(self.waiting[i].key is not None for i in free)
            assert len(taken) == keyless + min(heads, limit - keyless)
        else:
            assert len(taken) == self._bounded(free, limit)
        self._lease(handler, taken)

    def claim_alone(self, handler: str, taken: dict[int, tuple[int, str]]) -> None:
        """Judge a claim of one that was taken and not settled."""
        suspects = {i for i in self._of(handler) if self._has_expired(i, begun=False)}
        if self.handlers[handler][1] == "keyed":
            suspects = {i for i in suspects if self._leads(i)}
        assert {(handler, message) for message in taken} <= suspects
        assert len(taken) == min(1, len(suspects))
        self._lease(handler, taken)
        for message in taken:
            self.waiting[handler, message].lone += 1

    def decide_expired(self, handler: str) -> None:
        """Begun and expired is unknown; claimed alone too often is dead."""
        for one in self._of(handler):
            if self.handlers[handler][0] == "ambiguous" and self._has_expired(one, begun=True):
                self.waiting[one].unknown = True
            elif self._has_expired(one, begun=False) and self._is_poison(one):
                self.dead[one] = self.waiting.pop(one)

    def begin(self, one: Id, token: str) -> bool:
        """Whether an ambiguous call may leave: held, not begun, and the lease will outlast it."""
        found = self.waiting.get(one)
        if found is None or found.token != token or found.begun:
            return False
        if found.until <= self.now + self.call_seconds:
            return False
        found.begun = True
        return True

    def settle(self, one: Id, token: str, word: str, wait: int = 0) -> bool:
        """Whether the holder of `token` may say `word`, and what follows from it."""
        found = self.waiting.get(one)
        if found is None or found.token != token or (word == "unknown" and found.unknown):
            return False
        match word:
            case "done" | "suppressed":
                del self.waiting[one]
                self.done[one[0]] += 1
            case "dead":
                self.dead[one] = self.waiting.pop(one)
            case "unknown":
                found.unknown = True
            case _:
                self._free(found)
                found.lone, found.due, found.waited = 0, self.now + wait, True
        return True

    def give_back(self, one: Id, token: str) -> None:
        """A lease returned unused; an unknown outcome cannot be given back."""
        found = self.waiting.get(one)
        if found is not None and found.token == token and not found.unknown:
            self._free(found)

    def redrive(self, delivery_id: int) -> None:
        """A dead letter is due now, at its old place."""
        (one,) = [i for i, letter in self.dead.items() if letter.delivery_id == delivery_id]
        letter = self.dead.pop(one)
        self.waiting[one] = Delivery(
            letter.key, letter.position, due=self.now, delivery_id=delivery_id
        )

    def dead_of(self, handler: str) -> list[int]:
        """The delivery ids of a handler's dead letters."""
        return [d.delivery_id for i, d in self.dead.items() if i[0] == handler and d.delivery_id]

    def census(self, handler: str) -> dict[str, int]:
        """How many are where."""
        mine = [self.waiting[one] for one in self._of(handler)]
        return {
            "pending": sum(d.token is None for d in mine),
            "leased": sum(d.token is not None and not d.unknown for d in mine),
            "unknown": sum(d.unknown for d in mine),
            "dead": sum(one[0] == handler for one in self.dead),
            "done": self.done[handler],
            "overtaken": self.overtaken[handler],
        }

    def _claim_newest(self, handler: str, taken: dict[int, tuple[int, str]], limit: int) -> None:
        """All keys fit below the limit: each with something due and no lease is decided."""
        expected = 0
        for key in {self.waiting[i].key for i in self._of(handler)} - {None}:
            row = [i for i in self._of(handler) if self.waiting[i].key == key]
            if not any(map(self._is_free, row)) or any(self.waiting[i].token for i in row):
                continue
            newest = max((i for i in row if self._has_joined(i)), key=self._place)
            ever = max(self.newest.get((handler, key), (0, 0)), self._place(newest))
            for one in row:
                if self._place(one) < ever:
                    del self.waiting[one]
                    self.overtaken[handler] += 1
            if newest in self.waiting and self._is_free(newest):
                assert newest[1] in taken
                self.newest[handler, key] = ever
                expected += 1
        expected += self._keyless({i for i in self._of(handler) if self._is_free(i)}, limit)
        assert len(taken) == expected
        self._lease(handler, taken)

    def _bounded(self, free: set[Id], limit: int) -> int:
        """How many of `free` a claim takes: at most half of it again, the rest fresh."""
        again = sum(self.waiting[one].due is not None for one in free)
        again_taken = min(again, (limit + 1) // 2)
        return again_taken + min(len(free) - again, limit - again_taken)

    def _keyless(self, free: set[Id], limit: int) -> int:
        """How many without a key an ordered handler's claim takes: at most half of it."""
        return self._bounded({i for i in free if self.waiting[i].key is None}, (limit + 1) // 2)

    def _lease(self, handler: str, taken: dict[int, tuple[int, str]]) -> None:
        for message, (delivery_id, token) in taken.items():
            found = self.waiting[handler, message]
            found.delivery_id, found.token = delivery_id, token
            found.until = self.now + self.lease_seconds

    def _of(self, handler: str) -> list[Id]:
        return [one for one in self.waiting if one[0] == handler]

    def _place(self, one: Id) -> tuple[int, int]:
        return self.waiting[one].position, one[1]

    def _is_due(self, one: Id) -> bool:
        due = self.waiting[one].due
        return due is None or due <= self.now

    def _is_free(self, one: Id) -> bool:
        return self._is_due(one) and self.waiting[one].token is None

    def _has_joined(self, one: Id) -> bool:
        return self._is_due(one) or self.waiting[one].waited

    def _has_expired(self, one: Id, *, begun: bool) -> bool:
        found = self.waiting[one]
        if found.token is None or found.unknown or found.begun != begun:
            return False
        return found.until <= self.now

    def _is_poison(self, one: Id) -> bool:
        return self.waiting[one].lone >= self.lone_claims_max

    def _is_head(self, one: Id) -> bool:
        key = self.waiting[one].key
        row = [i for i in self._of(one[0]) if key is not None and self.waiting[i].key == key]
        if any(self.waiting[i].token for i in row):
            return False
        return self._leads(one)

    def _leads(self, one: Id) -> bool:
        """Whether nothing waits before it in its key, and no dead letter that blocks."""
        handler, key = one[0], self.waiting[one].key
        if key is None:
            return True
        before = [self._place(i) for i in self._of(handler)
                  if self.waiting[i].key == key and self._has_joined(i)]  # fmt: skip
        if handler in self.blocking:
            before += [(d.position, i[1]) for i, d in self.dead.items()
                       if i[0] == handler and d.key == key]  # fmt: skip
        return all(place >= self._place(one) for place in before)

    @staticmethod
    def _free(found: Delivery) -> None:
        found.token, found.begun, found.unknown = None, False, False
