"""A broker acts for processes: over Unix socket and TCP, with grpcio, and every refusal that the standard asks for."""
import os
import signal
import subprocess

import grpc
import jwt
from broker_client import HEADER, PID_TYPE, Broker, Identity, messages, reference, refusal, sleeper
from handshake import transport
from harness import Agent, Server, Skip, Workload, free_port, main, own_selectors, wait_until
from harness.certificates import load_chain, uri_sans
from harness.streams import Watch, ids
from refusals import header, policies, references, reflection

INVALID, DENIED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND = grpc.StatusCode.NOT_FOUND


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
