"""Full disks, damaged files and wrong neighbours give clear errors."""
import os
import shutil
import time

import grpc
from harness import Agent, Server, Skip, attest, free_port, main, protos, run, wait_until
from harness import ledger


def ends_with_reason(cluster, *words, timeout=20):
    """Starts a daemon that must give up by itself, and looks for words in what it says."""
    cluster.launch()
    wait_until(f"{cluster.name} ends by itself", lambda: not cluster.daemon.alive, timeout)
    code, log = cluster.daemon.exit_code, cluster.daemon.log()
    assert code == 1, f"exit code {code}, wanted 1:\n{cluster.daemon.log_tail(8)}"
    for word in words:
        assert word.lower() in log.lower(), f"{word!r} is not in:\n{cluster.daemon.log_tail(8)}"
    assert "fatal error" not in log.lower(), "it crashed instead of explaining"


def body(s):
    full_disk(s)
    key_files(s)
    store(s)
    taken(s)
    agents(s)


def full_disk(s):
    with s.check("a full disk: issuance and writes are refused, reading goes on, all recovers"):
        mount = s.path("small", "disk", "x")[:-2]
        if os.geteuid() != 0:
            raise Skip("needs root to mount a small tmpfs")
        done = run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", mount])
        if done.returncode != 0:
            raise Skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
        s.at_end(lambda: run(["umount", "-l", mount]))
        server = Server(s, name="small-server")
        server.data_dir = os.path.join(mount, "data")
        os.makedirs(server.data_dir)
        server.store = os.path.join(server.data_dir, "datastore.sqlite3")
        server.keys = os.path.join(server.data_dir, "keys.json")
        server.write_config()
        server.start()
        parent = server.id("spire/agent/x")
        acknowledged = [server.create_entry("before", parent, ["unix:uid:1"])]
        filler = os.path.join(mount, "filler")
        with open(filler, "wb", buffering=0) as file:
            try:
                for size in (1 << 16, 1 << 12, 512):
                    while True:
                        file.write(bytes(size))
            except OSError:
                pass
            try:
                while True:
                    file.write(bytes(512))
            except OSError:
                pass

        serials, refused_mint = [], None
        csr = attest.csr_der(attest.new_key(), server.id("minted"))
        svids = protos.messages(protos.SVID)
        api = server.stub(protos.SVID)
        for _ in range(2000):
            try:
                svid = api.MintX509SVID(svids.MintX509SVIDRequest(csr=csr), timeout=10).svid
                serials.append(attest.serial(svid.cert_chain[0]))
            except grpc.RpcError as failure:
                refused_mint = failure
                break
        assert refused_mint is not None, "2,000 SVIDs were issued on a full disk"
        refused_entry = None
        for number in range(3000):
            done = server.cli("entry", "create", "-spiffeID", server.id(f"n{number}"), "-parentID",
                              parent, "-selector", f"unix:uid:{number}")
            if done.returncode != 0:
                refused_entry = done
                break
            acknowledged.append(done.stdout.split("Entry ID")[1].split(":")[1].split()[0])
        assert refused_entry is not None, "3,000 entries were stored on a full disk"
        assert refused_entry.stderr.strip(), "no reason on stderr"
        assert server.daemon.alive, "the server ended"
        assert len(server.entries()) >= 1, "reading stopped"
        assert "disk" in server.daemon.log().lower() or "space" in server.daemon.log().lower(), (
            "the log does not name the disk")
        s.note(f"{len(serials)} SVIDs and {len(acknowledged)} entries before the disk was full")

        os.unlink(filler)
        wait_until("issuance works again", lambda: server.cli(
            "x509", "mint", "-spiffeID", server.id("after")).returncode == 0, 20)
        acknowledged.append(server.create_entry("after", parent, ["unix:uid:2"]))
        server.kill()
        server.start()
        present = [one["id"] for one in server.entries()]
        assert len(present) == len(set(present))
        assert not set(acknowledged) - set(present), "an acknowledged entry is gone"
        missing = ledger.missing_serials(server, serials)
        assert not missing, f"{len(missing)} of {len(serials)} SVIDs have no leaf"
        server.stop()


def key_files(s):
    with s.check("a damaged key file: the server names the file and does not start"):
        server = Server(s, name="damaged").start()
        server.stop()
        good = open(server.keys, "rb").read()
        for name, bytes_ in (("cut short", good[:len(good) // 2]), ("empty", b""),
                             ("noise", b"\x00\xff" * 100), ("not an object", b"[1, 2]")):
            with open(server.keys, "wb") as file:
                file.write(bytes_)
            try:
                ends_with_reason(server, os.path.basename(server.keys))
            except AssertionError as failure:
                raise AssertionError(f"{name}: {failure}") from None
            assert open(server.keys, "rb").read() == bytes_, f"{name}: the file was overwritten"

    with s.check("an unreadable key file is named"):
        os.unlink(server.keys)
        os.mkdir(server.keys)  # cannot be read as a file, not even by root
        ends_with_reason(server, os.path.basename(server.keys))
        os.rmdir(server.keys)
        with open(server.keys, "wb") as file:
            file.write(good)
        os.chmod(server.keys, 0o600)
        server.start()
        assert os.stat(server.keys).st_mode & 0o777 == 0o600, "the key file is open to others"
        server.stop()
        if os.geteuid() != 0:
            os.chmod(server.keys, 0)
            ends_with_reason(server, os.path.basename(server.keys))
            os.chmod(server.keys, 0o600)

    with s.check("a lost key file: the authority is not silently replaced under a new one"):
        bundle = server.start().bundle_pem()
        server.stop()
        os.rename(server.keys, server.keys + ".away")
        server.launch()
        time.sleep(3)
        if server.daemon.alive:
            # SPIRE prepares a new authority then; old roots must stay in the bundle.
            server.wait_ready()
            assert bundle.strip() in server.bundle_pem(), "the old root left the bundle"
            assert "key" in server.daemon.log().lower()
            server.stop()


def store(s):
    with s.check("a store of another trust domain is refused by name"):
        server = Server(s, name="first-domain").start()
        server.stop()
        server.trust_domain = "other.org"
        server.write_config()
        ends_with_reason(server, "example.org", "other.org")

    with s.check("two servers on one SQLite file: the second is refused, the first serves on"):
        first = Server(s, name="first").start()
        second = Server(s, name="second")
        second.store = first.store
        second.write_config()
        ends_with_reason(second, os.path.basename(first.store))
        assert first.cli("healthcheck").returncode == 0
        first.create_entry("x", first.id("spire/agent/x"), ["unix:uid:1"])
        first.stop()

    with s.check("a damaged store is named, and not replaced"):
        with open(first.store, "r+b") as file:
            file.write(b"this is not a database at all " * 200)
        for end in ("-wal", "-shm"):
            if os.path.exists(first.store + end):
                os.unlink(first.store + end)
        ends_with_reason(first, os.path.basename(first.store))

    with s.check("a data directory that is a file is named"):
        server = Server(s, name="no-directory")
        shutil.rmtree(server.data_dir, ignore_errors=True)
        with open(server.data_dir, "w", encoding="utf-8") as file:
            file.write("in the way")
        ends_with_reason(server, server.data_dir)


def taken(s):
    with s.check("a taken port is named"):
        first = Server(s, name="port-owner").start()
        ends_with_reason(Server(s, name="port-second", bind_port=first.port), str(first.port))

    with s.check("a live socket is not taken over; a dead one is"):
        thief = Server(s, name="socket-thief")
        thief.socket = first.socket
        thief.write_config()
        ends_with_reason(thief, os.path.basename(first.socket))
        assert first.cli("healthcheck").returncode == 0, "the first server lost its socket"
        first.kill()  # leaves its socket behind
        assert os.path.exists(first.socket)
        first.start()
        first.stop()

    with s.check("a socket path that is too long is named"):
        server = Server(s, name="long-path")
        server.socket = s.path("l" * 60, "m" * 60, "api.sock")
        server.write_config()
        ends_with_reason(server, "api.sock")


def agents(s):
    server = Server(s, name="for-agents").start()
    with s.check("an agent without its bundle file says which file"):
        agent = Agent(s, server, name="no-bundle", trust_bundle_path=s.path("no-such.pem"))
        agent.launch(server.token())
        wait_until("the file is named", lambda: "no-such.pem" in agent.daemon.log(), 15)
        assert not agent.healthy()
        agent.stop()

    with s.check("an agent with somebody else's bundle does not trust the server"):
        other = Server(s, name="stranger").start()
        agent = Agent(s, server, name="wrong-bundle")
        with open(agent.bundle, "w", encoding="utf-8") as file:
            file.write(other.bundle_pem())
        token = server.token()
        agent.launch(token)
        time.sleep(3)
        assert not agent.healthy()
        assert server.json("agent", "count")["count"] == 0
        assert attest.outcome(server, token) is None, "the token was given to an unproven server"
        agent.stop()
        other.stop()

    with s.check("an agent whose server is not there yet waits for it"):
        port = free_port()
        late = Server(s, name="late", bind_port=port).start()
        token, bundle = late.token(), late.bundle_pem()
        late.stop()
        agent = Agent(s, late, name="early")
        with open(agent.bundle, "w", encoding="utf-8") as file:
            file.write(bundle)
        agent.launch(token)
        time.sleep(3)
        assert agent.daemon.alive, f"the agent gave up:\n{agent.daemon.log_tail(8)}"
        late.start()
        agent.wait_ready(45)
        agent.stop()
        late.stop()

    with s.check("a damaged agent state is named"):
        agent = Agent(s, server, name="state").start()
        agent.stop()
        states = [name for name in os.listdir(agent.data_dir) if name.endswith(".json")]
        assert states, os.listdir(agent.data_dir)
        for name in states:
            with open(os.path.join(agent.data_dir, name), "w", encoding="utf-8") as file:
                file.write('{"svid": [')
        agent.launch()
        wait_until("a file is named",
                   lambda: any(name in agent.daemon.log() for name in states), 15)
        agent.stop()
    server.stop()


main(__file__, body)
