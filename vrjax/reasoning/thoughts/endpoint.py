"""One OpenAI-compatible server, asked through the `openai` package with limits that it does not set itself.

The key comes from an environment variable and goes nowhere but the request's header: errors are raised anew without
the request they came from, what a server says is searched for the key, and redirects are not followed. An answer is
bounded in bytes and in seconds, is not decompressed, and is handed on as plain JSON values; nobody runs, formats or
opens anything it says.
"""

import json
import os
import re
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

OPENAI = "https://api.openai.com/v1"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Endpoint:
    """A connection that asks only when told to.

    Args:
        base_url: the API's root, https; http for a server on this machine only.
        key_variable: the environment variable that holds the key. Servers without keys take any word.
        timeout: seconds of one attempt: to connect, between two bytes, and until the answer is complete.
        retries: further attempts after a lost connection, a timeout or the statuses 408, 409, 429 and 5xx, with growing
            pauses (the `openai` package's; it obeys Retry-After).
        max_bytes: of one answer.

    Raises:
        ImportError: `openai` is not installed. ValueError: a URL that is not allowed, no key or one that no header can
            hold, or limits that are not positive.
    """

    def __init__(
        self,
        *,
        base_url: str = OPENAI,
        key_variable: str = "OPENAI_API_KEY",
        timeout: float = 180.0,
        retries: int = 2,
        max_bytes: int = 1 << 20,
    ):
        try:
            import httpx2  # a dependency of openai
            import openai
        except ImportError as error:
            raise ImportError(
                f"asking a server needs the `openai` package ({error}): pip install 'vrjax[vchain]'"
            ) from error
        if not timeout > 0 or retries < 0 or max_bytes < 1:
            raise ValueError(
                f"endpoint: timeout {timeout}, retries {retries}, max_bytes {max_bytes}; expected more than 0, "
                "0 or more, 1 or more"
            )
        self.host = _host(base_url)
        self.timeout, self.retries, self.max_bytes = float(timeout), retries, max_bytes
        self._key_variable, self._openai = key_variable, openai
        hooks = {"request": [_start], "response": [_bound(httpx2, openai, self.timeout, max_bytes)]}
        self._client = openai.OpenAI(
            api_key=_key(key_variable),
            base_url=base_url,
            timeout=self.timeout,
            max_retries=retries,
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultHttpxClient(follow_redirects=False, event_hooks=hooks),
        )

    def __repr__(self) -> str:
        return f"Endpoint({self.host})"

    def ask(self, what: str, request: Callable[[Any], Any]) -> Any:
        """The JSON value that the server answers.

        Args:
            what: the question, for messages.
            request: calls a method of the client's `with_raw_response` resources: `lambda client: client.images
                .with_raw_response.generate(...)`.

        Raises:
            PermissionError: status 401 or 403. TimeoutError: no complete answer in time. ConnectionError: no
                connection, or the statuses 408, 409, 429 and 5xx to the last attempt. ValueError: any other status, or
                an answer that is too large, compressed, no JSON, or repeats the key.
        """
        openai, where, tries = self._openai, f"{what}: {self.host}", self.retries + 1
        try:
            text = request(self._client).http_response.content.decode()
        except openai.APITimeoutError:
            failure: Exception = TimeoutError(f"{where} did not answer within {self.timeout:g} s, in {tries} attempts")
        except openai.APIConnectionError:
            failure = ConnectionError(f"{where} could not be reached, in {tries} attempts")
        except openai.APIStatusError as error:
            failure = self._refusal(where, error.status_code, _said(error))
        except openai.OpenAIError as error:
            failure = ValueError(f"{where}: {self._scrub(str(error))}")
        except UnicodeDecodeError:
            failure = ValueError(f"{where}: the answer is not UTF-8 text")
        else:
            return self._parsed(where, text)
        # Outside the handlers: an exception raised in one would keep the request, and its headers, as its context.
        raise failure

    def refuse_key(self, what: str, *texts: str) -> None:
        """Raises ValueError if one of the texts has the key in it."""
        if any(self._client.api_key in text for text in texts):
            raise ValueError(f"{what}: the answer repeats the key; it is not used")

    def _parsed(self, where: str, text: str) -> Any:
        self.refuse_key(where, text)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
        raise ValueError(f"{where}: the answer is not JSON: {excerpt(text)}")

    def _refusal(self, where: str, status: int, said: str) -> Exception:
        if status in (401, 403):  # servers repeat parts of the key here
            return PermissionError(f"{where} refuses the key in ${self._key_variable} (status {status})")
        said = f": {excerpt(self._scrub(said))}" if said else ""  # in this order: an excerpt could hold half a key
        if status in (408, 409, 429) or status >= 500:
            return ConnectionError(f"{where} answers with status {status}, in {self.retries + 1} attempts{said}")
        return ValueError(f"{where} answers with status {status}{said}")

    def _scrub(self, text: str) -> str:
        return text.replace(self._client.api_key, "[key]")


def at(answer: Any, *path: str | int, what: str) -> Any:
    """The entry of a JSON value at a path of names and indices; ValueError that says where it ends."""
    here: Any = answer
    for i, step in enumerate(path):
        inside = step in here if isinstance(here, dict) else isinstance(here, list) and step in range(len(here))
        if not inside:
            place = ".".join(map(str, path[: i + 1]))
            raise ValueError(f"{what}: the answer has no {place}: {excerpt(json.dumps(answer))}")
        here = here[step]  # type: ignore[index] (a name in an object, or an index in a list)
    return here


def excerpt(text: str, most: int = 120) -> str:
    """The beginning of a text of others, quoted so that it cannot pass for ours or move a terminal's cursor."""
    return ascii(text[:most]) + ("..." if len(text) > most else "")


def _host(base_url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urllib.parse.urlsplit("")
    secure = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    if not host or not secure or "@" in parts.netloc or parts.query or parts.fragment:
        # The URL itself is not shown: it may hold a password.
        raise ValueError(
            "endpoint: base_url must be https://host[:port][/path] without user, query or fragment; http is for "
            f"servers on this machine (found scheme {parts.scheme!r})"
        )
    return parts.netloc


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ValueError(f"endpoint: the environment variable {variable} is not set; it must hold the server's key")
    if not re.fullmatch(r"[!-~]+", key):
        raise ValueError(f"endpoint: the key in ${variable} has characters that no HTTP header can hold")
    return key


def _said(error: Any) -> str:
    """The message of an error body in OpenAI's form, else nothing."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return message if isinstance(message, str) else ""


def _start(request: Any) -> None:
    request.extensions = {**request.extensions, "vrjax_start": time.monotonic()}


def _bound(httpx2: Any, openai: Any, timeout: float, max_bytes: int) -> Callable[[Any], None]:
    """A response hook: it runs before the body is read and puts a counting stream in its place."""

    class Bounded(httpx2.SyncByteStream):
        def __init__(self, stream: Any, deadline: float):
            self.stream, self.deadline = stream, deadline

        def __iter__(self):
            size = 0
            for part in self.stream:
                size += len(part)
                if size > max_bytes:  # an OpenAIError passes through the package without another attempt
                    raise openai.OpenAIError(f"the answer is larger than {max_bytes} bytes")
                if time.monotonic() > self.deadline:
                    raise httpx2.ReadTimeout("the answer takes too long")
                yield part

        def close(self):
            self.stream.close()

    def hook(response: Any) -> None:
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.strip().lower() not in ("", "identity"):
            raise openai.OpenAIError("the answer is compressed, which was not asked for")
        response.stream = Bounded(response.stream, response.request.extensions["vrjax_start"] + timeout)

    return hook
