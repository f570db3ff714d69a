"""The ELOG of PSI: an entry is a form that is posted to the logbook's address."""

import re
from collections.abc import Mapping
from pathlib import Path

from .credentials import secret
from .delivery import NotDelivered
from .http import TIMEOUT, Expired, client, request
from .outbox import Message

NO_LOGIN = "ELOG does not accept user and password"


class Elog:
    """Writes into a logbook of an ELOG server.

    User and password come from the environment, ``GLIDEPATH_ELOG_USER`` and
    ``GLIDEPATH_ELOG_PASSWORD``, as the server takes them; a server without users needs none.

    Parameters
    ----------
    url
        Address of the logbook, such as ``"https://elog.example.org/beamline"``.
    attributes
        Values of the attributes that the logbook demands, such as ``{"Type": "Routine"}``.
    timeout
        Seconds to wait for an answer.
    """

    name = "elog"

    def __init__(
        self, url: str, attributes: Mapping[str, str] | None = None, timeout: float = TIMEOUT
    ) -> None:
        self._url = f"{url.rstrip('/')}/"
        self._attributes = dict(attributes or {})
        self._timeout = timeout

    def send(self, message: Message) -> None:
        """Post the entry, with the run's picture if there is one.

        Raises
        ------
        NotDelivered
            If the server does not say that it took it.
        """
        form = {
            "cmd": "Submit",
            "exp": self._url.rstrip("/").rpartition("/")[2],
            "When": str(int(message.created)),
            "Encoding": "plain",
            **{key.replace(" ", "_"): value for key, value in self._attributes.items()},
            **self._who(),
        }
        text = "\n".join([*message.lines(), f"Entry {message.identifier}"])
        # ELOG understands multipart forms only, which files make of it.
        files: dict[str, tuple[str, bytes]] = {"Text": ("", text.encode())}
        picture: Path | None = None if message.run is None else message.run.picture
        if picture is not None:
            files["attfile0"] = (picture.name, picture.read_bytes())
        with client(self._timeout) as opened:
            try:
                response = request(opened, "POST", self._url, changes=True, data=form, files=files)
            except Expired as error:
                raise NotDelivered(f"{NO_LOGIN}: {error}", sure=True) from error
        place = response.headers.get("location", "")
        if response.status_code != 302 or not re.search(r"/\d+$", place.split("?")[0]):
            # It says what it dislikes in a page with status 200, or leads back to its login.
            raise NotDelivered(
                "ELOG did not take the entry; check user, password and the attributes that the "
                "logbook demands.",
                sure=True,
            )

    def has(self, message: Message) -> bool:
        """Tell whether the logbook has an entry with this message's identifier."""
        query = {"mode": "full", "reverse": "1", "npp": "20", "subtext": message.identifier}
        cookies = {key: value for key, value in self._who().items() if value}
        with client(self._timeout) as opened:
            opened.cookies.update(cookies)
            try:
                response = request(opened, "GET", self._url, changes=False, params=query)
            except Expired as error:
                raise NotDelivered(f"{NO_LOGIN}: {error}", sure=True) from error
        return f"Entry {message.identifier}" in response.text

    def _who(self) -> dict[str, str]:
        user = secret(self.name, "USER")
        return {"unm": user, "upwd": secret(self.name, "PASSWORD")} if user else {}


__all__ = ["Elog"]
