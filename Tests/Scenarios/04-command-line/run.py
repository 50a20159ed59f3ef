"""Commands, flags, output and exit codes."""
import json
import os
import re

from cryptography import x509
from harness import Agent, Server, binary, certificates, main, own_selectors, run, wait_until


def body(s):
    server = Server(s).start()
    agent = Agent(s, server).start()
    general(s, server, agent)
    entries(s, server, agent)
    data_files(s, server, agent)
    refused(s, server, agent)
    minting(s, server)
    agent_commands(s, server, agent)


def fails(done, *words):
    """A failed command: exit code 1, the reason on stderr, nothing on stdout."""
    assert done.returncode == 1, f"exit code {done.returncode}: {done.stdout}{done.stderr}"
    assert done.stderr.strip(), "nothing on stderr"
    for word in words:
        assert word.lower() in done.stderr.lower(), f"{word!r} is not in {done.stderr!r}"
    return done


def general(s, server, agent):
    with s.check("help and version end with 0, an unknown command with 127"):
        for program in ("cygnet-server", "cygnet-agent"):
            for words in (["-help"], ["--help"], ["-version"], ["--version"]):
                done = run([binary(program), *words])
                assert done.returncode == 0, f"{program} {words}: {done.returncode} {done.stderr}"
                assert (done.stdout + done.stderr).strip(), f"{program} {words} printed nothing"
            for words in (["frobnicate"], ["entry", "frobnicate"], []):
                if program == "cygnet-agent" and words[:1] == ["entry"]:
                    words = ["api", "frobnicate"]
                done = run([binary(program), *words])
                assert done.returncode == 127, f"{program} {words}: {done.returncode}"
        done = run([binary("cygnet-server"), "entry", "create", "-noSuchFlag", "x"])
        assert done.returncode == 1, done.returncode

    with s.check("the programs answer to the names spire-server and spire-agent"):
        for name, program, cluster in (("spire-server", "cygnet-server", server),
                                       ("spire-agent", "cygnet-agent", agent)):
            link = s.path("names", name)
            os.symlink(binary(program), link)
            done = run([link, "healthcheck", "-socketPath", cluster.socket])
            assert done.returncode == 0, done.stderr

    with s.check("healthcheck tells healthy from unhealthy"):
        assert "Server is healthy." in server.ok("healthcheck")
        assert "Server is healthy." in server.ok("healthcheck", "-verbose", "-shallow")
        done = agent.cli("healthcheck", check=True)
        assert "Agent is healthy." in done.stdout, done.stdout
        nowhere = s.path("nowhere", "api.sock")
        for program in ("cygnet-server", "cygnet-agent"):
            fails(run([binary(program), "healthcheck", "-socketPath", nowhere]))
        fails(run([binary("cygnet-server"), "entry", "show", "-socketPath", nowhere]), "Error: ")

    with s.check("flags may be written -flag value, -flag=value and --flag"):
        for words in (["-spiffeID", "spiffe://example.org/x"], ["-spiffeID=spiffe://example.org/x"],
                      ["--spiffeID", "spiffe://example.org/x"]):
            assert server.ok("jwt", "mint", *words, "-audience", "a").count(".") == 2

    with s.check("the socket may come from the environment"):
        done = run([binary("cygnet-server"), "entry", "count"],
                   env={**os.environ, "SPIRE_SERVER_PRIVATE_SOCKET": server.socket})
        assert done.returncode == 0, done.stderr

    with s.check("token generate prints the token, and warns without a SPIFFE ID"):
        text = server.ok("token", "generate")
        assert re.search(r"^Token: [0-9a-f-]{36}$", text, re.M), text
        assert "warning" in text.lower(), text
        answer = server.json("token", "generate", "-ttl", "120")
        assert re.fullmatch(r"[0-9a-f-]{36}", answer["value"]), answer
        assert isinstance(answer["expires_at"], str), "int64 in JSON is a string"
        fails(server.cli("token", "generate", "-ttl", "-5"))
        fails(server.cli("token", "generate", "-spiffeID", "spiffe://elsewhere.org/x"))

    with s.check("validate accepts a good file and explains a bad one"):
        done = run([binary("cygnet-server"), "validate", "-config", server.config])
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SPIRE server configuration file is valid." in done.stdout, done.stdout
        done = run([binary("cygnet-agent"), "validate", "-config", agent.config])
        assert done.returncode == 0 and "valid" in done.stdout, done.stdout + done.stderr
        with open(server.config, encoding="utf-8") as file:
            good = file.read()
        bad = {
            "unknown key": (good.replace("bind_port", "bind_prot"), ["bind_prot", "bind_port"]),
            "unknown block": (good + "\nservers { }\n", ["servers"]),
            "broken syntax": (good + "\nserver {\n", []),
            "no trust domain": (re.sub(r".*trust_domain.*\n", "", good), ["trust_domain"]),
            "bad trust domain": (good.replace('"example.org"', '"Example.org"'), ["trust domain"]),
            "bad duration": (good.replace("server {\n", 'server {\n    ca_ttl = "soon"\n', 1),
                             ["ca_ttl"]),
            "bad key type": (good.replace("server {\n", 'server {\n    ca_key_type = "dsa"\n', 1),
                             ["ca_key_type"]),
            "wrong type": (re.sub(r"bind_port = \d+", 'bind_port = "many"', good), ["bind_port"]),
        }
        for name, (text, words) in bad.items():
            path = s.path("bad", name.replace(" ", "-") + ".conf")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            done = run([binary("cygnet-server"), "validate", "-config", path])
            assert done.returncode == 1, f"{name}: exit code {done.returncode} {done.stdout}"
            for word in words:
                shown = done.stdout + done.stderr
                assert word.lower() in shown.lower(), f"{name}: {word!r} is not in {shown!r}"
            if name == "unknown key":
                line = text[:text.index("bind_prot")].count("\n") + 1
                assert re.search(rf"\b{line}\b", done.stdout + done.stderr), (
                    f"line {line} is not in {done.stderr!r}")
        fails(run([binary("cygnet-server"), "validate", "-config", s.path("bad", "missing")]))

    with s.check("configuration may be JSON, and may take values from the environment"):
        path = s.path("json", "server.json")
        settings = {
            "server": [{"trust_domain": "$CYGNET_TEST_DOMAIN", "data_dir": server.data_dir,
                        "bind_port": server.port, "socket_path": server.socket}],
            "plugins": [{
                "DataStore": [{"sql": [{"plugin_data": [{
                    "database_type": "sqlite3", "connection_string": server.store}]}]}],
                "KeyManager": [{"memory": [{"plugin_data": [{}]}]}],
            }],
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(settings, file)
        env = {**os.environ, "CYGNET_TEST_DOMAIN": "example.org"}
        done = run([binary("cygnet-server"), "validate", "-config", path, "-expandEnv"], env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        done = run([binary("cygnet-server"), "validate", "-config", path], env=env)
        assert done.returncode == 1, "a literal $NAME is not a trust domain"


def entries(s, server, agent):
    with s.check("entry create prints the block that scripts read"):
        text = server.ok(
            "entry", "create", "-spiffeID", server.id("web"), "-parentID", agent.id,
            "-selector", "unix:uid:1", "-selector", "unix:gid:2", "-x509SVIDTTL", "600",
            "-jwtSVIDTTL", "60", "-dns", "web.example.org", "-hint", "outside", "-admin",
            "-downstream", "-entryID", "web-1")
        for label, value in (("Entry ID", "web-1"), ("SPIFFE ID", server.id("web")),
                             ("Parent ID", agent.id), ("Revision", "0"), ("Downstream", "true"),
                             ("X509-SVID TTL", "600"), ("JWT-SVID TTL", "60"),
                             ("Selector", "unix:uid:1"), ("Selector", "unix:gid:2"),
                             ("DNS name", "web.example.org"), ("Admin", "true"),
                             ("Hint", "outside")):
            assert re.search(rf"^{re.escape(label)}\s*: {re.escape(value)}\s*$", text, re.M), (
                f"{label}: {value} is not in\n{text}")
        assert f"{'Entry ID':<24}: web-1" in text, "labels are padded to 24 columns"

    with s.check("entry show filters by ID, parent, SPIFFE ID, selector, hint and downstream"):
        server.create_entry("db", agent.id, ["unix:uid:1"])
        server.ok("entry", "create", "-node", "-spiffeID", server.id("fleet"), "-selector",
                  "unix:uid:9")
        shown = lambda *words: sorted(  # noqa: E731
            one["spiffe_id"]["path"] for one in server.json("entry", "show", *words)["entries"])
        assert shown() == ["/db", "/fleet", "/web"], shown()
        assert shown("-entryID", "web-1") == ["/web"]
        assert shown("-spiffeID", server.id("db")) == ["/db"]
        assert shown("-parentID", agent.id) == ["/db", "/web"]
        assert shown("-selector", "unix:uid:1") == ["/db", "/web"]
        assert shown("-selector", "unix:uid:1", "-matchSelectorsOn", "exact") == ["/db"]
        both = ["-selector", "unix:uid:1", "-selector", "unix:gid:2"]
        assert shown(*both) == ["/web"]
        assert shown(*both, "-matchSelectorsOn", "subset") == ["/db", "/web"]
        assert shown(*both, "-matchSelectorsOn", "any") == ["/db", "/web"]
        assert shown("-hint", "outside") == ["/web"]
        assert shown("-downstream") == ["/web"]
        text = server.ok("entry", "show")
        assert "Found 3 entries" in text, text
        assert re.search(r"^X509-SVID TTL\s*: default\s*$", text, re.M), text
        fleet = server.json("entry", "show", "-spiffeID", server.id("fleet"))["entries"][0]
        assert fleet["parent_id"]["path"] == "/spire/server", fleet
        fails(server.cli("entry", "show", "-entryID", "web-1", "-spiffeID", server.id("web")))
        fails(server.cli("entry", "show", "-entryID", "no-such-entry"))

    with s.check("entry count counts, with the same filters"):
        assert "3 registration entries" in server.ok("entry", "count")
        assert server.json("entry", "count", "-selector", "unix:uid:1")["count"] == 2

    with s.check("entry update replaces what it is given and counts revisions"):
        server.ok("entry", "update", "-entryID", "web-1", "-spiffeID", server.id("web2"),
                  "-parentID", agent.id, "-selector", "unix:uid:3")
        one = server.json("entry", "show", "-entryID", "web-1")["entries"][0]
        assert one["spiffe_id"]["path"] == "/web2" and one["revision_number"] == "1", one
        assert one["dns_names"] == [] and one["hint"] == "" and not one["admin"], one
        fails(server.cli("entry", "update", "-entryID", "none", "-spiffeID", server.id("x"),
                         "-parentID", agent.id, "-selector", "unix:uid:3"))

    with s.check("a similar entry is refused; an item that fails in JSON keeps exit code 0"):
        words = ["entry", "create", "-spiffeID", server.id("db"), "-parentID", agent.id,
                 "-selector", "unix:uid:1"]
        fails(server.cli(*words), "similar entry already exists")
        answer = server.json(*words)
        assert answer["results"][0]["status"]["code"] == 6, answer

    with s.check("entry delete removes one entry, and reports an unknown one"):
        text = server.ok("entry", "delete", "-entryID", "web-1")
        assert "Deleted entry with ID: web-1" in text, text
        fails(server.cli("entry", "delete", "-entryID", "web-1"))
        path = s.path("delete.json")
        ids = [one["id"] for one in server.entries()]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"ids": ids}, file)
        server.ok("entry", "delete", "-file", path)
        assert server.entries() == []

    with s.check("bundle show and count"):
        root = x509.load_pem_x509_certificate(server.ok("bundle", "show").encode())
        certificates.check_authority(root, "example.org")
        keys = json.loads(server.ok("bundle", "show", "-format", "spiffe"))["keys"]
        assert {key["use"] for key in keys} == {"x509-svid", "jwt-svid"}
        assert re.match(r"1 bundles?$", server.ok("bundle", "count").strip())
        assert server.json("bundle", "count")["count"] == 1
        assert server.json("bundle", "show")["trust_domain"] == "example.org"


def data_files(s, server, agent):
    with s.check("entry create reads a file of entries, also from standard input"):
        document = {"entries": [
            {"spiffe_id": server.id(f"file/{number}"), "parent_id": agent.id,
             "selectors": [{"type": "unix", "value": f"uid:{number}"}], "x509_svid_ttl": 60,
             "dns_names": [f"n{number}.example.org"]} for number in range(3)]}
        path = s.path("entries.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file)
        server.ok("entry", "create", "-data", path)
        assert len(server.entries()) == 3
        document["entries"] = [dict(document["entries"][0], spiffe_id=server.id("file/stdin"))]
        server.ok("entry", "create", "-data", "-", input=json.dumps(document))
        assert len(server.entries()) == 4
        fails(server.cli("entry", "create", "-data", "-", input="{broken"))
        fails(server.cli("entry", "create", "-data", s.path("missing.json")))


def refused(s, server, agent):
    before = sorted(one["id"] for one in server.entries())
    parent, identity = ["-parentID", agent.id], ["-spiffeID", server.id("x")]
    selector = ["-selector", "unix:uid:1"]
    cases = {
        "upper case trust domain": ["-spiffeID", "spiffe://Example.org/x", *parent, *selector],
        "upper case scheme": ["-spiffeID", "SPIFFE://example.org/x", *parent, *selector],
        "no scheme": ["-spiffeID", "example.org/x", *parent, *selector],
        "no path": ["-spiffeID", "spiffe://example.org", *parent, *selector],
        "trailing slash": ["-spiffeID", "spiffe://example.org/x/", *parent, *selector],
        "empty segment": ["-spiffeID", "spiffe://example.org/a//b", *parent, *selector],
        "dot segment": ["-spiffeID", "spiffe://example.org/../x", *parent, *selector],
        "percent encoding": ["-spiffeID", "spiffe://example.org/%41", *parent, *selector],
        "query": ["-spiffeID", "spiffe://example.org/x?y", *parent, *selector],
        "port": ["-spiffeID", "spiffe://example.org:80/x", *parent, *selector],
        "too long": ["-spiffeID", "spiffe://example.org/" + "a" * 2048, *parent, *selector],
        "another trust domain": ["-spiffeID", "spiffe://elsewhere.org/x", *parent, *selector],
        "reserved path": ["-spiffeID", server.id("spire/agent/x"), *parent, *selector],
        "bad parent": [*identity, "-parentID", "spiffe://example.org", *selector],
        "foreign parent": [*identity, "-parentID", "spiffe://elsewhere.org/a", *selector],
        "no parent": [*identity, *selector],
        "no selector": [*identity, *parent],
        "selector without colon": [*identity, *parent, "-selector", "unix"],
        "selector without type": [*identity, *parent, "-selector", ":uid"],
        "selector without value": [*identity, *parent, "-selector", "unix:"],
        "DNS name with space": [*identity, *parent, *selector, "-dns", "a b"],
        "DNS name with empty label": [*identity, *parent, *selector, "-dns", "a..b"],
        "DNS name with hyphen first": [*identity, *parent, *selector, "-dns", "-a.example.org"],
        "DNS name with two wildcards": [*identity, *parent, *selector, "-dns", "*.*.example.org"],
        "DNS name with an umlaut": [*identity, *parent, *selector, "-dns", "ü.example.org"],
        "negative TTL": [*identity, *parent, *selector, "-x509SVIDTTL", "-1"],
        "TTL that is no number": [*identity, *parent, *selector, "-jwtSVIDTTL", "soon"],
        "TTL beyond 32 bits": [*identity, *parent, *selector, "-x509SVIDTTL", "4294967296"],
        "hint over 1024": [*identity, *parent, *selector, "-hint", "h" * 1025],
        "entry ID with a slash": [*identity, *parent, *selector, "-entryID", "a/b"],
        "entry ID over 255": [*identity, *parent, *selector, "-entryID", "a" * 256],
        "unknown federated domain": [*identity, *parent, *selector, "-federatesWith",
                                     "spiffe://partner.test"],
    }
    with s.check(f"ID-02, ID-15, X509-05, WAPI-25: {len(cases)} invalid entries are refused"):
        for name, words in cases.items():
            done = server.cli("entry", "create", *words)
            assert done.returncode == 1, f"{name}: exit code {done.returncode}: {done.stdout}"
            assert done.stderr.strip(), f"{name}: nothing on stderr"
            assert len(done.stderr) < 2000, f"{name}: {len(done.stderr)} characters on stderr"

    with s.check("and none of them left anything behind"):
        assert sorted(one["id"] for one in server.entries()) == before
        assert server.daemon.alive


def minting(s, server):
    with s.check("x509 mint prints PEM, writes files with tight modes, and gives JSON"):
        text = server.ok("x509", "mint", "-spiffeID", server.id("minted"), "-dns", "m.example.org",
                         "-ttl", "120s")
        assert "BEGIN CERTIFICATE" in text and "PRIVATE KEY" in text, text
        folder = os.path.dirname(s.path("minted", "x"))
        server.ok("x509", "mint", "-spiffeID", server.id("minted"), "-write", folder)
        assert os.stat(f"{folder}/key.pem").st_mode & 0o777 == 0o600
        done = run(["openssl", "verify", "-CAfile", f"{folder}/bundle.pem", f"{folder}/svid.pem"])
        assert done.returncode == 0, done.stderr
        answer = server.json("x509", "mint", "-spiffeID", server.id("minted"))
        assert set(answer) == {"x509_svid", "private_key", "root_cas"}, set(answer)
        fails(server.cli("x509", "mint", "-spiffeID", "spiffe://elsewhere.org/x"))
        fails(server.cli("x509", "mint"))

    with s.check("jwt mint prints a bare token or writes it"):
        token = server.ok("jwt", "mint", "-spiffeID", server.id("minted"), "-audience", "a",
                          "-audience", "b", "-ttl", "60s").strip()
        header, claims = certificates.token_parts(token)
        assert claims["aud"] == ["a", "b"] and claims["exp"] - claims["iat"] == 60, claims
        path = s.path("token.jwt")
        server.ok("jwt", "mint", "-spiffeID", server.id("minted"), "-audience", "a", "-write", path)
        with open(path, encoding="utf-8") as file:
            assert file.read().strip().count(".") == 2
        fails(server.cli("jwt", "mint", "-spiffeID", server.id("minted")))


def agent_commands(s, server, agent):
    for entry in server.json("entry", "show")["entries"]:
        server.ok("entry", "delete", "-entryID", entry["id"])
    with s.check("api fetch without an identity fails within its timeout"):
        done = agent.cli("api", "fetch", "x509", "-timeout", "2s")
        assert done.returncode == 1, done.stdout
        assert "no identity issued" in done.stderr, done.stderr

    server.create_entry("cli", agent.id, own_selectors(binary("cygnet-agent")))
    with s.check("api fetch prints each SVID, and JSON when asked"):
        done = agent.cli("api", "fetch", "-timeout", "10s", check=True)
        assert re.search(r"Received 1 svids? after ", done.stdout), done.stdout
        assert re.search(rf"SPIFFE ID:\s+{re.escape(server.id('cli'))}", done.stdout), done.stdout
        done = agent.cli("api", "fetch", "x509", "-output", "json", "-timeout", "10s", check=True)
        assert json.loads(done.stdout)["svids"][0]["spiffe_id"] == server.id("cli")
        done = agent.cli("api", "fetch", "jwt", "-audience", "a", "-output", "json", "-timeout",
                         "10s", check=True)
        tokens, bundles = json.loads(done.stdout)
        assert tokens["svids"][0]["spiffe_id"] == server.id("cli"), tokens
        assert "spiffe://example.org" in bundles["bundles"], bundles

    with s.check("api watch prints updates until it is stopped"):
        watch = s.daemon("watch", [binary("cygnet-agent"), "api", "watch", "-socketPath",
                                   agent.socket])
        wait_until("the first update", lambda: server.id("cli") in watch.log())
        extra = server.create_entry("watched", agent.id, own_selectors(binary("cygnet-agent")))
        wait_until("the second update", lambda: server.id("watched") in watch.log())
        watch.stop()
        server.delete_entry(extra)


main(__file__, body)
