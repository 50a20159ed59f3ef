"""A broker acts for processes: over Unix socket and TCP, with grpcio, and every refusal that the standard asks for."""
import os
import signal
import socket
import ssl
import stat
import subprocess

import grpc
import jwt
from broker_client import HEADER, PID_TYPE, Broker, Identity, messages, raw_reference, reference, refusal, sleeper
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2
from harness import Agent, Server, Skip, Workload, free_port, main, own_selectors, wait_until
from harness.certificates import load_chain, uri_sans
from harness.streams import Watch, ids

INVALID, DENIED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND = grpc.StatusCode.NOT_FOUND
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def body(s):
    server = Server(s).start()
    socket_path = os.path.join(s.folder, "agent", "broker", "api.sock")
    port = free_port()
    web, db, nobody = (Workload(s, name) for name in ("web", "db", "nobody"))
    brokers = [
        {"id": server.id("mesh"), "allowed_reference_types": [{"type_url": PID_TYPE}]},
        {"id": server.id("remote"),
         "allowed_reference_types": [{"type_url": "*", "allow_over_tcp": True}],
         "workload_selectors": web.selectors},
        {"id": server.id("brief"), "allowed_reference_types": [{"type_url": PID_TYPE}]},
        {"id": server.id("idle"),
         "allowed_reference_types": [{"type_url": "type.googleapis.com/acme.Foo"}]},
    ]
    agent = Agent(s, server, experimental={"broker": {
        "socket_path": socket_path, "bind_address": f"127.0.0.1:{port}", "brokers": brokers}}).start()
    # The broker is the test itself; a stranger of the same trust domain has an identity, too.
    for name in ("mesh", "remote", "idle", "stranger"):
        server.create_entry(name, agent.id, own_selectors(), "-hint", name)
    server.create_entry("web", agent.id, web.selectors)
    server.create_entry("db", agent.id, db.selectors, "-hint", "internal")
    mesh, remote, idle, stranger = (
        Identity(s, agent, name) for name in ("mesh", "remote", "idle", "stranger"))
    here = Broker(s, server, agent, mesh, to=socket_path)
    there = Broker(s, server, agent, remote, port=port)
    processes = {workload.name: sleeper(s, workload) for workload in (web, db, nobody)}

    transport(s, server, agent, socket_path, port, mesh, stranger, processes["web"].pid)
    workloads(s, server, agent, here, there, processes)
    header(s, here, processes["web"].pid)
    reflection(s, here)
    references(s, here)
    policies(s, server, agent, here, there, idle, mesh, socket_path, port, processes)
    ends(s, server, agent, here, web, db, processes)
    number_reuse(s, server, agent, here, web)
    expiry(s, server, agent, socket_path, processes["web"].pid)
    many(s, here, web)


def transport(s, server, agent, socket_path, port, mesh, stranger, pid):
    with s.check("BEP-01: the socket has a directory of its own, closed to others"):
        mode = stat.S_IMODE(os.stat(socket_path).st_mode)
        folder = stat.S_IMODE(os.stat(os.path.dirname(socket_path)).st_mode)
        assert (mode, folder) == (0o770, 0o750), (oct(mode), oct(folder))
        assert os.path.dirname(socket_path) != os.path.dirname(agent.socket)

    def connect(context, to_port):
        if to_port:
            plain = socket.create_connection(("127.0.0.1", port), 10)
        else:
            plain = socket.socket(socket.AF_UNIX)
            plain.settimeout(10)
            plain.connect(socket_path)
        return plain if context is None else context.wrap_socket(plain, server_hostname="")

    def is_closed(context, to_port):
        """Whether the server hangs up instead of speaking HTTP/2."""
        try:
            with connect(context, to_port) as connection:
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                got = connection.recv(9)
                # In plain text the goodbye is a TLS alert.
                return got == b"" or context is None and got[:1] == b"\x15"
        except (ssl.SSLError, ConnectionError):
            return True

    def context(identity=None, **versions):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        made.set_alpn_protocols(["h2"])
        for name, version in versions.items():
            setattr(made, name, version)
        if identity:
            made.load_cert_chain(identity.certificate_file, identity.key_file)
        return made

    with s.check("BEP-05: plaintext, no certificate, a certificate of nobody's and old TLS are hung up on, on both transports"):
        forged = forge(s, mesh.id)
        for to_port in (False, True):
            assert not is_closed(context(mesh), to_port), "a listed broker was hung up on"
            assert is_closed(None, to_port), "plaintext was answered"
            assert is_closed(context(), to_port), "a caller without certificate was let in"
            assert is_closed(context(forged), to_port), "a self-signed certificate was let in"
            old = context(mesh, maximum_version=ssl.TLSVersion.TLSv1_2)
            assert is_closed(old, to_port), "TLS 1.2 was answered"

    with s.check("BEP-09, BRK-22: an identity of the trust domain that is not listed is hung up on"):
        for to_port in (False, True):
            assert is_closed(context(stranger), to_port)
        wait_until("the log says so", lambda: "caller of the Broker API refused" in agent.daemon.log())

    with s.check("BEP-05: a session cannot be resumed to come without a certificate"):
        made = context(mesh)
        first = connect(made, True)
        first.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        first.recv(9)
        session = first.session
        first.close()
        if session is not None:
            plain = socket.create_connection(("127.0.0.1", port), 10)
            with made.wrap_socket(plain, server_hostname="", session=session) as second:
                assert not second.session_reused

    with s.check("BEP-10: what answers is the agent, by its X509-SVID"):
        with connect(context(mesh), True) as connection:
            leaf = load_chain(connection.getpeercert(binary_form=True))[0]
            assert uri_sans(leaf) == [agent.id], uri_sans(leaf)


def forge(s, spiffe_id):
    """A certificate with the right ID that nobody vouches for."""
    class Forged:
        certificate_file = s.path("forged", "svid.pem")
        key_file = s.path("forged", "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/O=forged", "-addext", f"subjectAltName=URI:{spiffe_id}", "-days", "1",
         "-keyout", Forged.key_file, "-out", Forged.certificate_file],
        check=True, capture_output=True)
    return Forged


def workloads(s, server, agent, here, there, processes):
    web, db, nobody = (processes[name].pid for name in ("web", "db", "nobody"))

    with s.check("BEP-02, BEP-14, BRK-01, BRK-03: all four methods, on the Unix socket and on TCP"):
        for broker in (here, there):
            for name, call in broker.all_methods(reference(web)).items():
                answer = call()
                assert len(answer.svids if hasattr(answer, "svids") else answer.bundles) == 1, name

    with s.check("BRK-12, BRK-38, BRK-39: each workload has its own identity, complete, and the broker's is in none"):
        message = next(here.x509(web, timeout=20))
        assert ids(message) == [server.id("web")], ids(message)
        (svid,) = message.svids
        leaf, *_ = load_chain(svid.x509_svid)
        assert uri_sans(leaf) == [svid.spiffe_id]
        assert svid.x509_svid_key and svid.bundle and svid.hint == ""
        (other,) = next(here.x509(db, timeout=20)).svids
        assert other.spiffe_id == server.id("db") and other.hint == "internal"
        assert other.x509_svid_key != svid.x509_svid_key

    with s.check("BRK-42, BRK-46: bundles of the own trust domain, JWT-SVID keys only"):
        m = messages()
        x509 = next(here.stub.SubscribeToX509Bundles(
            m.SubscribeToX509BundlesRequest(reference=reference(web)), metadata=HEADER, timeout=20))
        assert list(x509.bundles) == ["spiffe://example.org"] and load_chain(x509.bundles["spiffe://example.org"])
        keys = next(here.stub.SubscribeToJWTBundles(
            m.SubscribeToJWTBundlesRequest(reference=reference(web)), metadata=HEADER, timeout=20))
        assert list(keys.bundles) == ["spiffe://example.org"]
        assert b"x5c" not in keys.bundles["spiffe://example.org"]
        assert b'"kid"' in keys.bundles["spiffe://example.org"]

    with s.check("BRK-44, BRK-45: tokens for the audiences asked for, of all identities or of the one named"):
        entry = server.create_entry("web/second", agent.id, own_web(processes), "-hint", "second")
        wait_until("the second identity", lambda: len(here.jwt(web, ["a", "b"]).svids) == 2, 20)
        both = here.jwt(web, ["a", "b"]).svids
        assert {svid.spiffe_id for svid in both} == {server.id("web"), server.id("web/second")}
        for svid in both:
            claims = jwt.decode(svid.svid, options={"verify_signature": False})
            assert claims["aud"] == ["a", "b"] and claims["sub"] == svid.spiffe_id, claims
        (one,) = here.jwt(web, ["a"], server.id("web/second")).svids
        assert one.spiffe_id == server.id("web/second") and one.hint == "second"
        other = refusal(lambda: here.jwt(web, ["a"], server.id("db")))
        assert other.code == DENIED and other.reason == "WORKLOAD_NOT_ENTITLED", other
        server.delete_entry(entry)
        wait_until("it is gone", lambda: here.ids(web) == [server.id("web")], 20)

    with s.check("BRK-31: no audience and a malformed SPIFFE ID are INVALID_ARGUMENT"):
        for audience, spiffe_id in (([], ""), ([""], ""), (["a"], "example.org/web")):
            assert refusal(lambda: here.jwt(web, audience, spiffe_id)).code == INVALID

    with s.check("BRK-33, BRK-34: a process without entry is PERMISSION_DENIED, with details, on every method"):
        for name, call in here.all_methods(reference(nobody)).items():
            found = refusal(call)
            assert (found.code, found.reason, found.domain) == (DENIED, "WORKLOAD_NOT_ENTITLED", "spiffe.io"), found
            assert found.metadata == {"pid": str(nobody)}, (name, found)

    with s.check("BRK-33: the agent's own PID is nobody's workload, whatever entries its user has"):
        found = refusal(lambda: here.ids(agent.daemon.pid))
        assert (found.code, found.reason) == (DENIED, "WORKLOAD_NOT_ENTITLED"), found

    with s.check("BRK-11, BRK-32, BRK-34: a PID that nobody has is NOT_FOUND on every method"):
        process = subprocess.Popen(["true"])
        process.wait()
        for pid in (process.pid, 2**31 - 1):
            for name, call in here.all_methods(reference(pid)).items():
                found = refusal(call)
                assert (found.code, found.reason, found.domain) == (NOT_FOUND, "WORKLOAD_NOT_FOUND", "spiffe.io"), \
                    (name, found)

    with s.check("a zombie is NOT_FOUND: it has ended"):
        zombie = subprocess.Popen(["true"])
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        assert refusal(lambda: here.ids(zombie.pid)).code == NOT_FOUND
        zombie.wait()


def own_web(processes):
    """The selectors of the workload web, as `unix` states them."""
    pid = processes["web"].pid
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        uid = next(line for line in status if line.startswith("Uid:")).split()[1]
    if int(uid) != os.getuid():
        return [f"unix:uid:{uid}"]
    return ["unix:path:" + os.readlink(f"/proc/{pid}/exe")]


def header(s, here, pid):
    with s.check("BEP-04: without the header, with another value or with two, nothing is done, on any method"):
        wrong = [(), (("broker.spiffe.io", "TRUE"),), (("broker.spiffe.io", ""),), (("broker.spiffe.io", "1"),),
                 HEADER + HEADER, (("workload.spiffe.io", "true"),)]
        for metadata in wrong:
            # A bad request as well: the header comes first.
            for workload in (reference(pid), raw_reference("", b"")):
                for name, call in here.all_methods(workload, metadata=metadata).items():
                    found = refusal(call)
                    assert found.code == INVALID and found.reason is None, (metadata, name, found)
        unknown = here.channel.unary_unary("/spiffe.broker.API/FetchWITSVID")
        assert refusal(lambda: unknown(b"", timeout=20)).code == INVALID
        found = refusal(lambda: unknown(b"", timeout=20, metadata=HEADER))
        assert found.code == grpc.StatusCode.UNIMPLEMENTED, found


def reflection(s, here):
    call = here.channel.stream_stream(
        REFLECTION, request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)

    def ask(metadata, **question):
        questions = iter([reflection_pb2.ServerReflectionRequest(**question)])
        return list(call(questions, timeout=20, metadata=metadata))

    with s.check("BEP-15: reflection is offered, with the header only"):
        assert refusal(lambda: ask((), list_services="*")).code == INVALID
        (answer,) = ask(HEADER, list_services="*")
        services = {service.name for service in answer.list_services_response.service}
        assert services == {"spiffe.broker.API", "grpc.reflection.v1.ServerReflection",
                            "grpc.reflection.v1alpha.ServerReflection"}, services

    with s.check("BEP-16, BRK-02: the service is the standard's, method for method"):
        (answer,) = ask(HEADER, file_containing_symbol="spiffe.broker.API")
        files = [descriptor_pb2.FileDescriptorProto.FromString(data)
                 for data in answer.file_descriptor_response.file_descriptor_proto]
        (service,) = files[0].service
        methods = {method.name: (method.client_streaming, method.server_streaming) for method in service.method}
        assert methods == {
            "SubscribeToX509SVID": (False, True), "SubscribeToX509Bundles": (False, True),
            "FetchJWTSVID": (False, False), "SubscribeToJWTBundles": (False, True)}, methods


def references(s, here):
    m = messages()
    good = m.WorkloadPIDReference(pid=1).SerializeToString()
    kubernetes = "type.googleapis.com/spiffe.broker.KubernetesObjectReference"
    pod = m.KubernetesObjectReference(
        type=m.KubernetesObjectType(plural="pods", group="core"),
        key=m.KubernetesObjectKey(namespace="shop", name="checkout")).SerializeToString()
    cases = {
        "no type": raw_reference("", good),
        "no slash": raw_reference("spiffe.broker.WorkloadPIDReference", good),
        "an unknown type": raw_reference("type.googleapis.com/acme.Foo", good),
        "a Kubernetes object": raw_reference(kubernetes, pod),
        "not a message": raw_reference(PID_TYPE, b"\xff\xff\xff"),
        "a PID as text": raw_reference(PID_TYPE, b"\x0a\x011"),
        "no PID": raw_reference(PID_TYPE, b""),
        "PID 0": reference(0),
        "PID -1": reference(-1),
        "the smallest PID": reference(-2**31),
        "an empty reference": m.WorkloadReference(),
        "a huge type": raw_reference("type.googleapis.com/" + "x" * 50_000, good),
        "a huge value": raw_reference(PID_TYPE, b"\x12\xd0\x86\x03" + b"x" * 50_000),
        "none": None,
    }
    for name, workload in cases.items():
        with s.check(f"BRK-05, BRK-06, BRK-34: {name} is INVALID_ARGUMENT, with details, on every method"):
            for method, call in here.all_methods(workload).items():
                found = refusal(call)
                assert (found.code, found.reason, found.domain) == (
                    INVALID, "WORKLOAD_REFERENCE_INVALID", "spiffe.io"), (method, found)
                assert len(found.text) < 300

    with s.check("a request that is no message, and one that is too long, end their own calls only"):
        raw = here.channel.unary_stream("/spiffe.broker.API/SubscribeToX509SVID")
        assert refusal(lambda: next(raw(b"\xff\xff", timeout=20, metadata=HEADER))).code == INVALID
        long = refusal(lambda: next(raw(b"\0" * 100_000, timeout=20, metadata=HEADER)))
        assert long.code == grpc.StatusCode.RESOURCE_EXHAUSTED, long


def policies(s, server, agent, here, there, idle, mesh, socket_path, port, processes):
    web, db = processes["web"].pid, processes["db"].pid

    with s.check("BRK-09: a PID over TCP is denied to a broker that may use it on the Unix socket only"):
        away = Broker(s, server, agent, mesh, port=port)
        for name, call in away.all_methods(reference(web)).items():
            found = refusal(call)
            assert found.code == DENIED and found.reason is None, (name, found)
        assert here.ids(web) == [server.id("web")]

    with s.check("BRK-23: a type that a broker may not use is denied, and whether the process is there is not told"):
        other = Broker(s, server, agent, idle, to=socket_path)
        for pid in (web, 2**31 - 1):
            found = refusal(lambda: other.ids(pid))
            assert found.code == DENIED and found.reason is None, found

    with s.check("BRK-23: a broker with selectors acts for workloads that have them, and for no others"):
        assert there.ids(web) == [server.id("web")]
        for name, call in there.all_methods(reference(db)).items():
            found = refusal(call)
            assert found.code == DENIED, (name, found)
        assert "broker asked for a workload that it may not act for" in agent.daemon.log()

    with s.check("who got what is in the log"):
        lines = [line for line in agent.daemon.log().split("\n") if "handed a workload's identities" in line]
        assert any(mesh.id in line and server.id("web") in line and str(web) in line for line in lines), lines[:3]


def ends(s, server, agent, here, web, db, processes):
    with s.check("BRK-28: every message is the whole state; new and withdrawn identities arrive on the stream"):
        watch = here.watch(processes["db"].pid)
        assert ids(watch.next()) == [server.id("db")]
        entry = server.create_entry("db/new", agent.id, db.selectors)
        watch.until(lambda message: set(ids(message)) == {server.id("db"), server.id("db/new")}, 20)
        server.delete_entry(entry)
        watch.until(lambda message: ids(message) == [server.id("db")], 20)
        watch.cancel()

    with s.check("BRK-27, BRK-36: a workload's end ends its calls with NOT_FOUND, and no others on the connection"):
        doomed = sleeper(s, web)
        living = here.watch(processes["web"].pid)
        m = messages()
        request = m.SubscribeToX509BundlesRequest(reference=reference(doomed.pid))
        watches = [here.watch(doomed.pid), here.watch(doomed.pid),
                   Watch(here.stub.SubscribeToX509Bundles(request, metadata=HEADER))]
        for watch in [*watches, living]:
            watch.next()
        doomed.kill()
        for watch in watches:
            assert watch.wait_end(10) == NOT_FOUND, watch.end
        doomed.wait()
        assert not living.ended.is_set() and here.ids(processes["web"].pid) == [server.id("web")]
        living.cancel()

    with s.check("BRK-33: the last identity's withdrawal ends a stream with PERMISSION_DENIED, never an empty message"):
        guest = Workload(s, "guest")
        entry = server.create_entry("guest", agent.id, guest.selectors)
        process = sleeper(s, guest)
        wait_until("the guest is known", lambda: known(here, process.pid), 20)
        watch = here.watch(process.pid)
        assert ids(watch.next()) == [server.id("guest")]
        server.delete_entry(entry)
        assert watch.wait_end(20) == DENIED
        assert watch.count == 1

    with s.check("a process that runs another program later is attested anew"):
        code = ("import os, sys; sys.stdin.readline(); "
                "os.execv('/bin/sleep', ['sleep', '600'])")
        process = web.popen([web.interpreter, "-c", code], stdin=subprocess.PIPE)
        wait_until("it runs", lambda: known(here, process.pid), 20)
        process.stdin.write(b"\n")
        process.stdin.flush()
        program = os.path.realpath("/bin/sleep")
        wait_until("it has changed", lambda: os.readlink(f"/proc/{process.pid}/exe") == program)
        if web.uid is not None:
            assert here.ids(process.pid) == [server.id("web")]
        else:
            assert refusal(lambda: here.ids(process.pid)).code == DENIED

    with s.check("a stopped process still runs: its stream stays"):
        process = sleeper(s, web)
        watch = here.watch(process.pid)
        watch.next()
        process.send_signal(signal.SIGSTOP)
        assert here.ids(process.pid) == [server.id("web")] and not watch.ended.is_set()
        process.kill()
        assert watch.wait_end(10) == NOT_FOUND


def known(here, pid):
    try:
        return here.ids(pid)
    except grpc.RpcError:
        return None


def number_reuse(s, server, agent, here, web):
    with s.check("BRK-07: a number that is used again means the process that has it now"):
        last_pid = "/proc/sys/kernel/ns_last_pid"
        if os.geteuid() != 0 or not os.access(last_pid, os.W_OK):
            raise Skip("needs root and a writable /proc/sys/kernel/ns_last_pid")
        process = sleeper(s, web)
        watch = here.watch(process.pid)
        assert ids(watch.next()) == [server.id("web")]
        wanted = process.pid
        process.kill()
        process.wait()
        for _ in range(50):
            with open(last_pid, "w", encoding="ascii") as file:
                file.write(str(wanted - 1))
            successor = subprocess.Popen(["sleep", "60"], start_new_session=True)
            if successor.pid == wanted:
                break
            successor.kill()
            successor.wait()
        else:
            raise Skip("the kernel did not give the number again")
        s.at_end(successor.kill)
        assert watch.wait_end(10) == NOT_FOUND and watch.count == 1
        # The successor is the test's own user's, whose entries are those of the brokers.
        found = here.ids(wanted) if own_selectors()[0].startswith("unix:uid:") else None
        assert found is None or server.id("web") not in found, found


def expiry(s, server, agent, socket_path, pid):
    server.create_entry("brief", agent.id, own_selectors(), "-hint", "brief", "-x509SVIDTTL", "12")
    brief = Identity(s, agent, "brief")
    broker = Broker(s, server, agent, brief, to=socket_path)

    with s.check("a broker's access ends with its X509-SVID: open calls with UNAUTHENTICATED"):
        watch = broker.watch(pid)
        assert ids(watch.next()) == [server.id("web")]
        assert watch.wait_end(30) == grpc.StatusCode.UNAUTHENTICATED, watch.end

    with s.check("BEP-05: an X509-SVID that has expired is hung up on, a fresh one of the same ID is let in"):
        assert refusal(lambda: broker.ids(pid)).code == grpc.StatusCode.UNAVAILABLE
        fresh = Broker(s, server, agent, Identity(s, agent, "brief"), to=socket_path)
        assert fresh.ids(pid) == [server.id("web")]


def many(s, here, web):
    with s.check("a thousand streams about one workload: all are served, and all end with it"):
        process = sleeper(s, web)
        watches = [here.watch(process.pid) for _ in range(1000)]
        for watch in watches:
            watch.next(30)
        process.kill()
        process.wait()
        for watch in watches:
            assert watch.wait_end(30) == NOT_FOUND, watch.end


if __name__ == "__main__":
    main(__file__, body)
