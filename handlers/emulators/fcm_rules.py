"""What FCM HTTP v1 accepts: the discovery document's schemas, and the rules its prose adds.

`fcm_v1_schema.json` is the request part of the discovery document, without its prose; a test makes
it again from the package that carries the document and compares. Pure: no server, no clock.
Sources: FCM v1 discovery document; FCM REST reference, `projects.messages`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Schema: TypeAlias = Mapping[str, Any]

PAYLOAD_BYTES_MAX = 4096
TOPIC_PAYLOAD_BYTES_MAX = 2048
TTL_SECONDS_MAX = 2_419_200
COLLAPSE_ID_BYTES_MAX = 64
WEB_TOPIC_CHARS_MAX = 32
TARGETS = ("fid", "token", "topic", "condition")

_KEPT = ("$ref", "type", "format", "enum", "properties", "items", "additionalProperties")
_DURATION = re.compile(r"(\d+)(\.\d{1,9})?s")
_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}")
_TOPIC = re.compile(r"[a-zA-Z0-9\-_.~%]{1,900}")
_WEB_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_SECONDS = re.compile(r"\d{1,12}")
_RESERVED_KEYS = frozenset({"from", "message_type"})
_RESERVED_PREFIXES = ("google.", "gcm.notification.")


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that FCM would refuse."""

    field: str
    description: str


class PayloadTooBig(Exception):
    """The payload passes 4,096 bytes; FCM says so without naming a field."""


def trimmed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The request schemas of the discovery `document`, without descriptions."""
    schemas = document["schemas"]
    wanted, found = ["SendMessageRequest"], dict[str, Any]()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _without_prose(schemas[name])
            wanted += _references(found[name])
    return {"revision": document["revision"], "schemas": dict(sorted(found.items()))}


def violations(request: Json) -> list[Violation]:
    """Everything FCM would refuse in a `messages:send` body; empty means accepted.

    Field names may be lowerCamelCase or snake_case. Raises PayloadTooBig.
    """
    return judged(request)[0]


def judged(request: Json) -> tuple[list[Violation], dict[str, Json]]:
    """`violations`, and the normalised request, which is empty if its very shape is wrong."""
    shape = list(_check(request, {"$ref": "SendMessageRequest"}, ""))
    if shape:
        return shape, {}
    normal = normalised(request)
    assert isinstance(normal, dict)  # the shape was checked
    message = normal.get("message")
    if not isinstance(message, dict):
        return [Violation("message", "Message is required.")], normal
    found = [*_target(message), *_data(message), *_platforms(message), *_options(message)]
    if not found:
        limit = TOPIC_PAYLOAD_BYTES_MAX if "topic" in message else PAYLOAD_BYTES_MAX
        if payload_bytes(message) > limit:
            raise PayloadTooBig
    return found, normal


def normalised(request: Json) -> Json:
    """The same request with every field name in lowerCamelCase; keys of maps stay as they are."""
    return _normalise(request, {"$ref": "SendMessageRequest"})


def payload_bytes(message: Mapping[str, Any]) -> int:
    """Keys and values of what reaches the device, in bytes of UTF-8, of a normalised message."""
    parts: list[Json] = [message.get("notification"), message.get("data")]
    parts += [message.get("android", {}).get(name) for name in ("notification", "data")]
    parts += [message.get("webpush", {}).get(name) for name in ("notification", "data")]
    parts.append(message.get("apns", {}).get("payload"))
    return sum(map(_weight, parts))


@cache
def schema_document() -> Mapping[str, Any]:
    """The stored request schemas and the discovery revision they were taken from."""
    text = resources.files("handlers.emulators").joinpath("fcm_v1_schema.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def _without_prose(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return schema
    kept = {name: schema[name] for name in _KEPT if name in schema}
    if "properties" in kept:
        fields = kept["properties"]
        kept["properties"] = {name: _without_prose(fields[name]) for name in sorted(fields)}
    for name in ("items", "additionalProperties"):
        if name in kept:
            kept[name] = _without_prose(kept[name])
    return kept


def _references(schema: Any) -> list[str]:
    if isinstance(schema, Mapping):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [name for part in schema.values() for name in _references(part)]
    return []


def _resolved(schema: Schema) -> Schema:
    while "$ref" in schema:
        schema = schema_document()["schemas"][schema["$ref"]]
    return schema


@lru_cache(maxsize=1024)  # the names are few and come with every request
def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _normalise(value: Json, schema: Schema) -> Json:
    schema = _resolved(schema)
    if isinstance(value, dict) and "properties" in schema:
        fields = schema["properties"]
        return {
            _camel(name): _normalise(part, fields.get(_camel(name), {"type": "any"}))
            for name, part in value.items()
        }
    if isinstance(value, list) and "items" in schema:
        return [_normalise(part, schema["items"]) for part in value]
    return value


def _check(value: Json, schema: Schema, path: str) -> Iterator[Violation]:
    schema = _resolved(schema)
    kind = schema.get("type")
    if kind == "object":
        yield from _check_object(value, schema, path)
    elif kind == "array":
        if not isinstance(value, list):
            yield _wrong(path, "TYPE_MESSAGE")
            return
        for index, part in enumerate(value):
            yield from _check(part, schema["items"], f"{path}[{index}]")
    elif kind == "string":
        yield from _check_string(value, schema, path)
    elif kind == "boolean":
        if not isinstance(value, bool):
            yield _wrong(path, "TYPE_BOOL")
    elif kind in {"integer", "number"} and (
        isinstance(value, bool) or not isinstance(value, (int, float))
    ):
        yield _wrong(path, "TYPE_INT32" if kind == "integer" else "TYPE_FLOAT")


def _check_object(value: Json, schema: Schema, path: str) -> Iterator[Violation]:
    if not isinstance(value, dict):
        yield _wrong(path, "TYPE_MESSAGE")
        return
    if "properties" not in schema:
        inner = schema.get("additionalProperties", {"type": "any"})
        for index, part in enumerate(value.values()):
            yield from _check(part, inner, f"{path}[{index}].value")
        return
    fields = schema["properties"]
    for name, part in value.items():
        if (inner := fields.get(_camel(name))) is not None:
            yield from _check(part, inner, f"{path}.{name}".lstrip("."))
        else:
            text = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
            yield Violation(path, text)


def _check_string(value: Json, schema: Schema, path: str) -> Iterator[Violation]:
    if not isinstance(value, str):
        yield _wrong(path, "TYPE_STRING")
    elif "enum" in schema and value.upper() not in schema["enum"]:
        yield _wrong(path, "TYPE_ENUM")
    elif schema.get("format") == "google-duration" and not _DURATION.fullmatch(value):
        yield Violation(path, "Illegal duration format; duration must end with 's'")


def _wrong(path: str, kind: str) -> Violation:
    return Violation(path, f"Invalid value at '{path}' ({kind})")


def _target(message: Mapping[str, Any]) -> Iterator[Violation]:
    given = [name for name in TARGETS if name in message]
    if not given:
        yield Violation("message", "Recipient of the message is not set.")
    elif len(given) > 1:
        yield Violation("message", "oneof field 'target' is already set.")
    elif not message[given[0]]:
        yield Violation(f"message.{given[0]}", "The target is empty.")
    elif "topic" in message and not _TOPIC.fullmatch(message["topic"]):
        yield Violation("message.topic", "Malformed topic name.")


def _data(message: Mapping[str, Any]) -> Iterator[Violation]:
    maps = {"message.data": message.get("data")}
    for platform in ("android", "webpush"):
        maps[f"message.{platform}.data"] = message.get(platform, {}).get("data")
    for path, data in maps.items():
        for key in data or ():
            if key in _RESERVED_KEYS or key.startswith(_RESERVED_PREFIXES):
                yield Violation(path, f"Invalid data payload key: {key}")


def _platforms(message: Mapping[str, Any]) -> Iterator[Violation]:
    if "android" in message and "androidV2" in message:
        yield Violation("message.android_v2", "android and android_v2 are mutually exclusive.")
    ttl = message.get("android", {}).get("ttl")
    if ttl is not None and int(ttl.rstrip("s").partition(".")[0]) > TTL_SECONDS_MAX:
        yield Violation("message.android.ttl", "Invalid ttl: must be at most 2419200s.")
    yield from _apns(message)
    yield from _web(message)


def _apns(message: Mapping[str, Any]) -> Iterator[Violation]:
    apns = message.get("apns", {})
    headers = apns.get("headers", {})
    aps = apns.get("payload", {}).get("aps", {})
    priority = headers.get("apns-priority")
    visible = "notification" in message or (isinstance(aps, Mapping) and "alert" in aps)
    if priority not in {None, "5", "10"}:
        yield Violation("message.apns.headers", "apns-priority must be 5 or 10.")
    elif priority == "10" and not visible:
        yield Violation("message.apns.headers", "apns-priority 10 needs an alert.")
    if len(headers.get("apns-collapse-id", "").encode()) > COLLAPSE_ID_BYTES_MAX:
        yield Violation("message.apns.headers", "apns-collapse-id is longer than 64 bytes.")
    if not _SECONDS.fullmatch(headers.get("apns-expiration", "0")):
        yield Violation("message.apns.headers", "apns-expiration must be UNIX seconds.")


def _web(message: Mapping[str, Any]) -> Iterator[Violation]:
    webpush = message.get("webpush", {})
    headers = webpush.get("headers", {})
    ttl = headers.get("TTL", "0")
    if not _SECONDS.fullmatch(ttl) or int(ttl) > TTL_SECONDS_MAX:
        yield Violation("message.webpush.headers", "TTL must be seconds, at most 2419200.")
    if headers.get("Urgency", "normal") not in {"very-low", "low", "normal", "high"}:
        yield Violation("message.webpush.headers", "Unknown Urgency.")
    if "Topic" in headers and not _WEB_TOPIC.fullmatch(headers["Topic"]):
        yield Violation("message.webpush.headers", "Topic must be 1 to 32 base64url characters.")
    link = webpush.get("fcmOptions", {}).get("link")
    if link is not None and not link.startswith("https://"):
        yield Violation("message.webpush.fcm_options.link", "The link must be https.")


def _options(message: Mapping[str, Any]) -> Iterator[Violation]:
    places = {"message": message, **{f"message.{p}": message.get(p, {}) for p in _PLATFORMS}}
    for path, place in places.items():
        label = place.get("fcmOptions", {}).get("analyticsLabel")
        if label is not None and not _LABEL.fullmatch(label):
            yield Violation(f"{path}.fcm_options.analytics_label", "Malformed analytics label.")


_PLATFORMS = ("android", "apns", "webpush")


def _weight(part: Json) -> int:
    if isinstance(part, Mapping):
        return sum(len(str(key).encode()) + _weight(value) for key, value in part.items())
    if isinstance(part, list):
        return sum(map(_weight, part))
    if part is None:
        return 0
    return len(str(part).encode())
