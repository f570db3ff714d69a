"""The e-log of ICAT+, as HZB and the ESRF run it, by its own routes."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from .credentials import needed_secret
from .delivery import NotDelivered, Refused
from .experiment import Experiment, Proposal
from .http import TIMEOUT, Expired, client, hidden, request
from .outbox import Message
from .run_record import iso

Result = TypeVar("Result")


@dataclass(frozen=True)
class Investigation:
    """An investigation that the user of ICAT+ may see.

    Attributes
    ----------
    identifier
        Its number in ICAT.
    name, title
        As ICAT has them.
    """

    identifier: str
    name: str
    title: str


class IcatPlus:
    """Writes into the e-log of the investigation that a run belongs to.

    User and password come from the environment, ``GLIDEPATH_ICATPLUS_USER`` and
    ``GLIDEPATH_ICATPLUS_PASSWORD``; the session's token is kept in memory only.

    Parameters
    ----------
    url
        Address of ICAT+, such as ``"https://icat.example.org/icatplus"``.
    plugin
        How ICAT knows its users.
    investigation
        Number of the investigation for what belongs to no run that names one.
    timeout
        Seconds to wait for an answer.
    """

    name = "icatplus"

    def __init__(
        self, url: str, plugin: str = "hzbrex", investigation: str = "", timeout: float = TIMEOUT
    ) -> None:
        self._url = url.rstrip("/")
        self._plugin = plugin
        self._investigation = investigation
        self._timeout = timeout
        self._token = ""

    def send(self, message: Message) -> None:
        """Make an entry, and one more with the run's picture if there is one."""
        investigation = self._investigation_of(message)
        if not investigation:
            raise Refused("The run belongs to no investigation, so ICAT+ has no e-log for it.")
        entry = {
            "type": "annotation",
            "category": "comment",
            "content": [
                {"text": "\n".join(self._lines(message)), "format": "plainText"},
                {"text": self._as_html(message), "format": "html"},
            ],
            "creationDate": iso(message.created),
            "tag": [],
        }

        def post(opened: httpx.Client, token: str) -> None:
            path = f"logbook/{token}/investigation/id/{quote(investigation, safe='')}/event/create"
            request(opened, "POST", f"{self._url}/{path}", changes=True, json=entry)

        self._logged_in(post)

    def has(self, message: Message) -> bool:
        """Tell whether the e-log has an entry with this message's identifier."""
        investigation = self._investigation_of(message)

        def look(opened: httpx.Client, token: str) -> bool:
            response = request(
                opened,
                "GET",
                f"{self._url}/logbook/{token}/event",
                changes=False,
                params={
                    "investigationId": investigation,
                    "search": message.identifier,
                    "limit": 1,
                },
            )
            return message.identifier in response.text

        return self._logged_in(look)

    def investigations(self) -> list[Investigation]:
        """Return the investigations of the user.

        Raises
        ------
        NotDelivered
            If ICAT+ does not answer, or refuses the login.
        """

        def fetch(opened: httpx.Client, token: str) -> Any:
            url = f"{self._url}/catalogue/{token}/investigation"
            return request(opened, "GET", url, changes=False).json()

        return [
            Investigation(str(one["id"]), str(one.get("name", "")), str(one.get("title", "")))
            for one in self._logged_in(fetch)
        ]

    def describe(self, experiment: Experiment, investigation: str) -> Experiment:
        """Return an experiment with what ICAT knows of an investigation.

        Parameters
        ----------
        experiment
            What is known already.
        investigation
            Name or number of the investigation.

        Raises
        ------
        ValueError
            If the user has no such investigation.
        """
        found = self.investigations()
        for one in found:
            if investigation in (one.identifier, one.name):
                proposal = Proposal(one.name.partition(":")[2] or one.name, one.title)
                return experiment.changed(investigation=one.identifier, proposal=proposal)
        names = ", ".join(one.name for one in found) or "none"
        raise ValueError(f"ICAT has no investigation {investigation!r} for you; it has {names}.")

    def _investigation_of(self, message: Message) -> str:
        run = message.run
        named = "" if run is None else str(run.experiment.get("investigation_id", ""))
        return named or self._investigation

    def _lines(self, message: Message) -> list[str]:
        return [*message.lines(), f"Entry {message.identifier}"]

    def _as_html(self, message: Message) -> str:
        text = "<br>".join(html.escape(line) for line in self._lines(message))
        picture = None if message.run is None else message.run.picture
        if picture is None:
            return f"<p>{text}</p>"
        image = base64.b64encode(picture.read_bytes()).decode()
        return f'<p>{text}</p><img src="data:image/png;base64,{image}">'

    def _logged_in(self, action: Callable[[httpx.Client, str], Result]) -> Result:
        """Do something with a session of ICAT+; an expired one is renewed once."""
        with client(self._timeout) as opened:
            fresh = not self._token
            if fresh:
                self._token = self._log_in(opened)
            try:
                return action(opened, self._token)
            except Expired as error:
                self._token = ""
                if fresh:
                    raise NotDelivered(f"ICAT+ refuses the session: {error}", sure=True) from error
            self._token = self._log_in(opened)
            try:
                return action(opened, self._token)
            except Expired as error:
                self._token = ""
                raise NotDelivered(f"ICAT+ refuses the session: {error}", sure=True) from error

    def _log_in(self, opened: httpx.Client) -> str:
        who = {
            "plugin": self._plugin,
            "username": needed_secret(self.name, "USER"),
            "password": needed_secret(self.name, "PASSWORD"),
        }
        try:
            response = request(opened, "POST", f"{self._url}/session", changes=False, json=who)
        except (Expired, Refused) as error:
            raise NotDelivered(
                f"ICAT+ does not accept user and password: {error}",
                sure=True,
            ) from error
        answer = response.json()
        if not isinstance(answer, Mapping) or not answer.get("sessionId"):
            raise NotDelivered("What answers is not ICAT+; check its address.", sure=True)
        return hidden(str(answer["sessionId"]))


__all__ = ["IcatPlus", "Investigation"]
