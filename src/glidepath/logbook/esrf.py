"""ICAT of the ESRF: each run a dataset by its message broker, each entry by its e-log."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .credentials import needed_secret
from .delivery import NotDelivered, Refused
from .outbox import Message
from .run_record import RunRecord

TIMEOUT = 30.0
"""Seconds in which broker and e-log must answer. What pyicat-plus takes by itself, 0.1 s for the
e-log, is too short: it counts an entry as written when there is no answer in time."""

CONTINUOUS = ("flyscan", "xas_flyscan", "trajectory_scan")
"""Plans that the ESRF's definitions call continuous; all others are step by step."""


class Esrf:
    """Tells the ESRF's ICAT of runs and notes by ``pyicat-plus`` (the extra ``icat``).

    Each message has connections of its own: on one that has been idle, a broker that was restarted
    meanwhile loses a message without a word. A dataset is known by its path: the same one twice is
    one. The e-log cannot be asked whether it has an entry: the one whose sending was interrupted
    may come twice. Its key comes from the environment, ``GLIDEPATH_ESRF_KEY``.

    Parameters
    ----------
    metadata_urls
        Addresses of the message broker, ``"host:port"``.
    elogbook_url
        Address of the e-log; an empty text: no entries.
    make_client
        Function that makes the client; None: pyicat-plus.
    """

    name = "esrf"

    def __init__(
        self,
        metadata_urls: Sequence[str],
        elogbook_url: str = "",
        make_client: Callable[[], Any] | None = None,
    ) -> None:
        self._metadata_urls = list(metadata_urls)
        self._elogbook_url = elogbook_url
        self._make_client = make_client or self._connect
        self._client: Any = None

    def send(self, message: Message) -> None:
        """Store the run's dataset, then write the entry and the run's picture.

        Raises
        ------
        NotDelivered
            If broker or e-log do not answer.
        Refused
            If the message belongs to no run, or the run to no proposal and beamline.
        """
        run = message.run
        if run is None:
            raise Refused("A note on no run belongs to no proposal: the ESRF has no place for it.")
        where = _where(run)
        client = self._opened()
        try:
            if message.kind == "run" and run.folder:
                client.store_dataset(
                    **where, dataset=run.name, path=run.folder, metadata=_metadata(run)
                )
            if self._elogbook_url:
                text = "\n".join(message.lines())
                client.send_message(text, msg_type="comment", **where, dataset=run.name)
                if message.kind == "run" and run.picture is not None:
                    client.send_binary_file(str(run.picture), **where)
        except Exception as error:
            raise NotDelivered(
                f"The ESRF's ICAT does not answer ({type(error).__name__}); it is tried again.",
                sure=False,
            ) from error
        finally:
            self.close()

    def has(self, message: Message) -> bool:
        """Return False: it cannot be asked."""
        return False

    def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            # What was sent is sent; a broker that is gone cannot be told goodbye.
            with contextlib.suppress(Exception):
                client.disconnect()

    def _opened(self) -> Any:
        if self._client is None:
            try:
                self._client = self._make_client()
            except ImportError as error:
                raise NotDelivered(
                    "The ESRF's ICAT needs pyicat-plus; install glidepath[icat].", sure=True
                ) from error
            except NotDelivered:
                raise
            except Exception as error:
                raise NotDelivered(
                    f"The ESRF's ICAT cannot be reached ({type(error).__name__}); it is tried "
                    "again.",
                    sure=True,
                ) from error
        return self._client

    def _connect(self) -> Any:
        from pyicat_plus.client.main import IcatClient

        more: dict[str, Any] = {}
        if self._elogbook_url:
            more["elogbook_url"] = self._elogbook_url
            more["elogbook_token"] = needed_secret(self.name, "KEY")
            more["elogbook_timeout"] = TIMEOUT
        return IcatClient(metadata_urls=self._metadata_urls, queue_timeout=TIMEOUT, **more)


def _where(run: RunRecord) -> dict[str, str]:
    said = run.experiment
    proposal = said.get("proposal")
    number = proposal.get("proposal_id", "") if isinstance(proposal, Mapping) else proposal
    beamline = said.get("beamline")
    if not number or not beamline:
        raise Refused(f"{run.name} names no proposal and beamline, which the ESRF's ICAT needs.")
    return {"beamline": str(beamline), "proposal": str(number)}


def _metadata(run: RunRecord) -> dict[str, Any]:
    said = run.experiment
    sample = said.get("sample")
    technique = said.get("technique")
    return {
        "Sample_name": sample.get("name", "") if isinstance(sample, Mapping) else sample or "",
        "startDate": datetime.fromtimestamp(run.begin, UTC),
        "endDate": datetime.fromtimestamp(run.end, UTC),
        "scanType": "continuous" if run.plan in CONTINUOUS else "step_by_step",
        "definition": technique.get("name", "XAS") if isinstance(technique, Mapping) else "XAS",
        "Notes_note_00": run.reason,
    }


__all__ = ["Esrf"]
