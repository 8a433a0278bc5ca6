"""Which hosts are reached where somebody else says which: real servers on this machine, names of the test's."""

import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network

import pytest
import urllib3
from support.registry import patient

from knative_lambda.builds.images.registry_client import Client, Place
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.builds.inputs.reach import Reach, is_public, named, resolved
from knative_lambda.schemas.errors import Temporary, Unavailable, Unsent

DIGEST = "sha256:" + "d" * 64
METADATA = "169.254.169.254"


@dataclass
class Servers:
    """A registry on an address that may be reached, and one on another that may not; and who asked them."""

    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    location: str = ""
    challenge: str = ""


def listen(servers: Servers, address: str) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            servers.asked.append((address, self.headers["Host"]))
            refers = servers.location and not self.path.startswith("/there")
            status = 307 if refers else 401 if servers.challenge else 200
            self.send_response(status)
            self.send_header("Docker-Content-Digest", DIGEST)
            self.send_header("Content-Length", "0")
            if refers:
                self.send_header("Location", servers.location)
            if servers.challenge:
                self.send_header("WWW-Authenticate", f'Bearer realm="{servers.challenge}",service="x"')
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815 - the library calls them by the methods' names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((address, servers.port), Handler)
    servers.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    return server


@pytest.fixture
def servers() -> Iterator[Servers]:
    told = Servers()
    running = [listen(told, "127.0.0.1"), listen(told, "127.0.0.2")]
    yield told
    for server in running:
        server.shutdown()
        server.server_close()


class Names:
    """A resolver that answers with what is next in a name's list, and stays with the last; it notes who asked."""

    def __init__(self, **known: Sequence[Sequence[str]]) -> None:
        self.known = {name.replace("_", "."): list(answers) for name, answers in known.items()}
        self.asked: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answers = self.known.get(host)
        if answers is None:
            return resolved(host)
        return answers.pop(0) if len(answers) > 1 else answers[0]


def only_the_first(names: Names) -> Reach:
    """Return a reach for which 127.0.0.1 stands for the Internet, and 127.0.0.2 for the inside."""
    return Reach(networks=(ip_network("127.0.0.1/32"),), resolve=names)


def registry(reach: Reach | None) -> HttpRegistry:
    return HttpRegistry(patient(insecure=True, reach=reach))


def test_a_name_is_resolved_once_and_that_address_is_connected_to(servers: Servers) -> None:
    """Who answers the second time with another address has not been asked a second time."""
    names = Names(rebinding_test=[["127.0.0.1"], ["127.0.0.2"]])
    assert registry(only_the_first(names)).digest(f"rebinding.test:{servers.port}/a:1") == DIGEST
    assert names.asked == ["rebinding.test"]
    assert servers.asked == [("127.0.0.1", f"rebinding.test:{servers.port}")]


def test_a_name_that_means_something_inside_is_not_reached_and_is_where_that_is_not_looked_at(servers: Servers) -> None:
    names = Names(inside_test=[["127.0.0.2"]])
    reference = f"inside.test:{servers.port}/a:1"
    with pytest.raises(Unsent, match=r"127\.0\.0\.2 is not public"):
        registry(only_the_first(names)).digest(reference)
    assert not servers.asked
    everywhere = replace(only_the_first(names), hosts=("inside.test",))
    assert registry(everywhere).digest(reference) == DIGEST
    assert [address for address, _ in servers.asked] == ["127.0.0.2"]


def test_one_address_inside_among_others_is_one_too_many(servers: Servers) -> None:
    names = Names(both_test=[["127.0.0.1", "127.0.0.2"]])
    with pytest.raises(Unsent):
        registry(only_the_first(names)).digest(f"both.test:{servers.port}/a:1")
    assert not servers.asked


def test_of_several_addresses_the_next_is_tried_where_nobody_listens_at_one(servers: Servers) -> None:
    names = Names(two_test=[["127.0.0.3", "127.0.0.1"]])
    reach = replace(only_the_first(names), networks=(ip_network("127.0.0.0/8"),))
    assert registry(reach).digest(f"two.test:{servers.port}/a:1") == DIGEST


@pytest.mark.parametrize(
    "where",
    [
        f"http://{METADATA}/latest/meta-data",
        f"//{METADATA}/latest",
        "http://127.0.0.2:{port}/there",
        "http://0x7f000002:{port}/there",
        "http://2130706434:{port}/there",
        "http://0177.0.0.2:{port}/there",
        "http://127.2:{port}/there",
        "http://[::ffff:127.0.0.2]:{port}/there",
        "http://first.test@127.0.0.2:{port}/there",
        "http://first.test:{port}@127.0.0.2:{port}/there",
        "http://first.test%2f@127.0.0.2:{port}/there",
        "http://inside.test:{port}/there",
        "http://INSIDE.TEST.:{port}/there",
        "http://localhost:{port}/there",
        "http://kubernetes.default.svc/there",
    ],
)
def test_a_redirect_into_the_inside_is_not_followed(servers: Servers, where: str) -> None:
    """127.0.0.2 would answer, and does where nothing is looked at."""
    inside = [["127.0.0.2"]]
    extra = {"kubernetes_default_svc": [["10.96.0.1"]], "localhost": [["127.0.0.2"]], "INSIDE_TEST_": inside}
    names = Names(first_test=[["127.0.0.1"]], inside_test=inside, **extra)
    names.known["inside.test."] = [["127.0.0.2"]]
    servers.location = where.format(port=servers.port)
    client = Client(patient(insecure=True, reach=only_the_first(names)))
    with pytest.raises((Unsent, Unavailable)):
        client.read(Place.of(f"first.test:{servers.port}/a"), "blobs/x")
    assert {address for address, _ in servers.asked} == {"127.0.0.1"}


def test_a_redirect_is_followed_where_it_leads_outside_and_without_a_reach_anywhere(servers: Servers) -> None:
    names = Names(first_test=[["127.0.0.1"]], other_test=[["127.0.0.1"]])
    servers.location = f"http://other.test:{servers.port}/there"
    client = Client(patient(insecure=True, reach=only_the_first(names)))
    assert client.read(Place.of(f"first.test:{servers.port}/a"), "blobs/x").status == 200
    servers.location = f"http://127.0.0.2:{servers.port}/there"
    anywhere = Client(patient(insecure=True))
    assert anywhere.read(Place.of(f"127.0.0.1:{servers.port}/a"), "blobs/x").status == 200
    assert servers.asked[-1][0] == "127.0.0.2"


def test_nor_is_a_token_asked_for_inside(servers: Servers) -> None:
    names = Names(first_test=[["127.0.0.1"]])
    servers.challenge = f"http://127.0.0.2:{servers.port}/token"
    with pytest.raises(Unsent):
        registry(only_the_first(names)).digest(f"first.test:{servers.port}/a:1")
    assert {address for address, _ in servers.asked} == {"127.0.0.1"}


def test_a_name_that_nobody_knows_is_no_answer(servers: Servers) -> None:
    with pytest.raises(Unavailable):
        registry(Reach()).digest(f"nobody.invalid:{servers.port}/a:1")


def test_certificates_are_of_the_name_and_not_of_the_address() -> None:
    """The connection goes to the address, and says the name."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                seen.append(connection.recv(4096))

        thread = threading.Thread(target=answer)
        thread.start()
        pool = only_the_first(Names(secure_test=[["127.0.0.1"]])).pool(retries=False, timeout=5)
        with pytest.raises(urllib3.exceptions.HTTPError):
            pool.request("GET", f"https://secure.test:{listening.getsockname()[1]}/")
        thread.join()
    assert b"secure.test" in seen[0]


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.254", "127.0.0.1", METADATA, "172.16.0.1"),  # noqa: S104 - nothing is bound to it
        *("172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1"),
        *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "64:ff9b::a00:1"),
        *("64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "fc00::1", "fd00:ec2::254", "fe80::1"),
        *("fec0::1", "ff02::1"),
    ],
)
def test_what_is_no_address_of_the_internet_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "100.128.0.1", "172.32.0.1", "192.0.3.1", "2606:4700::1111", "2a00::1"])
def test_what_is_one_is(address: str) -> None:
    assert is_public(ip_address(address))
    assert Reach().refusal(address) == ""


@pytest.mark.parametrize(
    "written",
    [
        *("2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "127.0.1", "[::1]", "[::1]:80"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "localhost"),
        *("LOCALHOST", "localhost.", "localhost:5000", "169.254.169.254:80", "0", "a" * 300, "a..b", "-", "x y", "\0"),
    ],
)
def test_however_an_address_inside_is_written_it_is_refused(written: str) -> None:
    assert Reach().refusal(written)


@pytest.mark.parametrize("written", ["①②⑦.⓪.⓪.①", "127。0。0。1", "\uff4cocalhost"])
def test_nor_is_one_in_other_scripts(written: str) -> None:
    assert Reach().refusal(written)


def test_a_resolver_that_is_away_is_asked_again_later() -> None:
    def away(_host: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    with pytest.raises(Temporary):
        Reach(resolve=away).refusal("somewhere.test")


def test_the_settings_say_what_is_reached_besides() -> None:
    names = Names(
        r_test=[["10.0.0.1"]], in_example_com=[["10.0.0.2"]], other_test=[["10.9.0.1"]], out_test=[["9.9.9.9"]]
    )
    reach = Reach.of(
        ["*.example.com", "10.9.0.0/16"], ["9.0.0.0/8"], ["r.test:5000/prefix", "", "10.0.0.7:5000/x@sha256:1"]
    )
    reach = replace(reach, resolve=names)
    for host in ("R.test:5000", "r.test.:5000", "in.example.com", "in.example.com:1", "other.test", "10.0.0.7:5000"):
        assert reach.refusal(host) == ""
    for host in ("out.test", "10.0.0.8", "10.0.0.8:5000", "example.com.test", "notr.test:5000"):
        assert reach.refusal(host)


@pytest.mark.parametrize(
    ("own", "others"), [(":5000", ("", ":443", ":6443", ":500", ":05000")), ("", (":5000", ":22"))]
)
@pytest.mark.parametrize("host", ["10.0.0.7", "r.test", "[fd00::7]"])
def test_the_products_own_hosts_are_reached_at_their_ports_alone(host: str, own: str, others: Sequence[str]) -> None:
    """What else listens on the registry's machine, as the API server, is nobody's registry."""
    names = Names(r_test=[["10.0.0.1"]])
    reach = replace(Reach.of([], own=[f"{host}{own}/prefix"]), resolve=names)
    assert reach.refusal(f"{host}{own}") == ""
    for port in others:
        assert "is not public" in reach.refusal(f"{host}{port}")


@pytest.mark.parametrize("port", ["", ":443", ":80"])
def test_a_port_that_goes_without_saying_may_be_said(port: str) -> None:
    for own in ("10.0.0.7", "10.0.0.7:443"):
        assert Reach.of([], own=[f"{own}/prefix"]).refusal(f"10.0.0.7{port}") == ""


def test_nor_does_a_connection_go_to_another_port_of_an_own_host(servers: Servers) -> None:
    reference = f"own.test:{servers.port}/a:1"
    names = Names(own_test=[["127.0.0.2"]])
    assert registry(Reach(resolve=names, own=(f"own.test:{servers.port}",))).digest(reference) == DIGEST
    with pytest.raises(Unsent):
        registry(Reach(resolve=names, own=("own.test:1",))).digest(reference)
    assert len(servers.asked) == 1


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "10.0.0.0/33", "x/24"])
def test_what_is_no_network_is_told(wrong: str) -> None:
    with pytest.raises(ValueError, match="/"):
        Reach.of([wrong])


def test_a_star_stands_for_all_below_and_not_for_the_host_itself() -> None:
    assert named("a.b.example.com:443", ["*.Example.com"])
    assert not named("example.com", ["*.example.com"])
    assert not named("badexample.com", ["*.example.com"])
