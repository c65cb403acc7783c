"""Several services in a process: what they say before they work, and that they end together."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from streams.associator.drafts import Patience
from streams.service.options import ServiceOptions
from streams.service.serving import PREPARING, Stopping, serve

from .support import last_record, site_at


@pytest.fixture
def site(tmp_path):
    return site_at(tmp_path)


def served(site, *names, prepare, stopping):
    addresses = []
    options = ServiceOptions(name="", stages=())
    serve(
        site,
        names,
        options,
        Patience(),
        stopping,
        told=addresses.append,
        prepare=lambda go: prepare(go, addresses[0]),
    )


def test_while_kernels_are_made_ready_a_service_says_so_and_is_not_ready(site):
    seen, stopping = [], Stopping()

    def prepare(going_on, address):
        assert going_on()
        seen.append(last_record(site))
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{address}/readyz", timeout=60)
        assert refused.value.code == 503
        assert urllib.request.urlopen(f"http://{address}/healthz", timeout=60).status == 200
        stopping.more()
        assert not going_on()

    served(site, "image2", prepare=prepare, stopping=stopping)
    (record,) = seen
    assert (record.state, record.sentence) == ("starting", PREPARING)
    assert last_record(site).state == "stopped"
    assert last_record(site).sentence == ""


def test_the_associator_alone_needs_no_kernels(site):
    stopping = Stopping()
    stopping.more()
    served(site, "associator", prepare=lambda *_: pytest.fail("kernels"), stopping=stopping)
