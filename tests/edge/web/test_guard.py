"""Who is let through to the page's routes, as a pure rule."""

from __future__ import annotations

import pytest

from edge.web.guard import MAX_BODY_BYTES, RefusedError, check_request, is_loopback, is_own_name

NAMES = {"localhost", "bench-2"}


def check(method="POST", peer="127.0.0.1", remote_control=False, **headers):
    sent = {"host": "127.0.0.1:8470", "content-length": "2", "x-leukoscope-page": "1"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    check_request(
        method=method,
        headers={name: value for name, value in sent.items() if value is not None},
        peer=peer,
        names=NAMES,
        remote_control=remote_control,
    )


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8470", "bench-2", "10.0.0.7:80", "[::1]:8470", "[::1]"]
)
def test_own_names_and_all_addresses_are_known(host):
    assert is_own_name(host, NAMES)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8470", "localhost.evil.example", "[::1", "a b"]
)
def test_other_names_are_not(host):
    assert not is_own_name(host, NAMES)


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("10.0.0.7", False),
        ("::ffff:10.0.0.7", False),
        ("", False),
        ("testclient", False),
    ],
)
def test_loopback_is_this_machine_alone(address, own):
    assert is_loopback(address) is own


def test_an_order_from_the_page_itself_passes():
    check(origin="http://127.0.0.1:8470", sec_fetch_site="same-origin")
    check()  # a script that knows the header


def test_looking_needs_no_header_and_may_come_from_elsewhere():
    check("GET", peer="10.0.0.7", x_leukoscope_page=None, content_length=None)


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (421, {"method": "GET", "host": "evil.example"}),
        (421, {"method": "GET", "host": None}),
        (403, {"x_leukoscope_page": None}),
        (403, {"origin": "http://evil.example"}),
        (403, {"origin": "http://127.0.0.1:9999"}),
        (403, {"origin": "null"}),
        (403, {"sec_fetch_site": "cross-site"}),
        (403, {"sec_fetch_site": "same-site"}),
        (403, {"peer": "10.0.0.7"}),
        (411, {"content_length": None}),
        (411, {"content_length": "-1"}),
        (413, {"content_length": str(MAX_BODY_BYTES + 1)}),
    ],
)
def test_what_the_page_would_not_send_is_refused_with_a_remedy(status, request_):
    with pytest.raises(RefusedError) as caught:
        check(**request_)
    assert caught.value.status == status
    assert caught.value.fault
    assert caught.value.remedy


def test_another_machine_may_give_orders_where_that_is_allowed():
    check(peer="10.0.0.7", remote_control=True)
