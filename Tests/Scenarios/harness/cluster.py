"""A server and its agents as an operator would run them: configuration files, sockets, the CLI."""
import json
import os
import re

from . import protos
from .process import free_port, run, wait_until

ROOT = protos.ROOT


def binary(name):
    """The path of a program: `$CYGNET_BIN` or the debug build."""
    folder = os.environ.get("CYGNET_BIN") or os.path.join(ROOT, ".build", "debug")
    path = os.path.join(os.path.abspath(os.path.join(ROOT, folder)), name)
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path} is missing; build first (swift build)")
    return path


def literal(value):
    """A value of a configuration file on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {literal(item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    return str(value) if isinstance(value, int) else json.dumps(str(value))


def hcl(settings, indent="    "):
    """Settings as lines of a configuration file."""
    lines = []
    for key, value in settings.items():
        if value is None:
            continue
        if isinstance(value, dict):
            lines.append(f"{indent}{key} {{\n{hcl(value, indent + '    ')}\n{indent}}}")
        else:
            lines.append(f"{indent}{key} = {literal(value)}")
    return "\n".join(lines)


class Server:
    """A cygnet-server with its own folder. Keyword arguments go into the `server` block."""

    def __init__(self, scenario, name="server", trust_domain="example.org", key_manager="disk",
                 **settings):
        self.scenario = scenario
        self.name = name
        self.trust_domain = trust_domain
        self.data_dir = scenario.path(name, "data")
        self.socket = scenario.path(name, "api.sock")
        self.store = scenario.path(name, "data", "datastore.sqlite3")
        self.keys = scenario.path(name, "data", "keys.json")
        self.config = scenario.path(name, "server.conf")
        self.port = settings.pop("bind_port", None) or free_port()
        self.key_manager = key_manager
        self.settings = settings
        # Blocks beside `server` and `plugins`, as they are to stand in the file.
        self.more = ""
        self.daemon = None
        self.write_config()

    def write_config(self, **changes):
        """Writes the configuration file; `changes` override settings of the `server` block."""
        self.settings.update(changes)
        block = {
            "trust_domain": self.trust_domain,
            "data_dir": self.data_dir,
            "bind_address": "127.0.0.1",
            "bind_port": self.port,
            "socket_path": self.socket,
            "log_level": "DEBUG",
            # One attestation a second for each address, unless a scenario wants the limits.
            "ratelimit": {"attestation": False, "signing": False},
        }
        block.update(self.settings)
        if self.key_manager == "disk":
            keys = hcl({"keys_path": self.keys}, "            ")
        else:
            keys = ""
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"""# Written by the scenario tests.
server {{
{hcl(block)}
}}

plugins {{
    DataStore "sql" {{
        plugin_data {{
            database_type = "sqlite3"
            connection_string = {json.dumps(self.store)}
        }}
    }}
    KeyManager "{self.key_manager}" {{
        plugin_data {{
{keys}
        }}
    }}
    NodeAttestor "join_token" {{
        plugin_data {{}}
    }}
}}
{self.more}
""")

    # MARK: life

    def launch(self):
        """Starts the program without waiting for it."""
        self.daemon = self.scenario.daemon(
            self.name, [binary("cygnet-server"), "run", "-config", self.config])
        return self

    def start(self, timeout=20.0):
        self.launch()
        return self.wait_ready(timeout)

    def wait_ready(self, timeout=20.0):
        def ready():
            if not self.daemon.alive:
                raise AssertionError(
                    f"{self.name} ended with {self.daemon.exit_code}:\n{self.daemon.log_tail()}")
            return os.path.exists(self.socket) and self.cli("healthcheck").returncode == 0
        wait_until(f"{self.name} is healthy", ready, timeout)
        return self

    def stop(self):
        return self.daemon.stop()

    def kill(self):
        self.daemon.kill()

    def restart(self):
        self.stop()
        return self.start()

    # MARK: command line

    def cli(self, *words, timeout=30, input=None, check=False):
        """Runs a command of cygnet-server against this server's socket."""
        return run([binary("cygnet-server"), *words, "-socketPath", self.socket], timeout=timeout,
                   check=check, input=input)

    def ok(self, *words, **options):
        """The standard output of a command that must succeed."""
        return self.cli(*words, check=True, **options).stdout

    def json(self, *words, **options):
        return json.loads(self.ok(*words, "-output", "json", **options))

    def token(self, spiffe_id=None, ttl=None):
        words = ["token", "generate"]
        if spiffe_id:
            words += ["-spiffeID", spiffe_id]
        if ttl is not None:
            words += ["-ttl", str(ttl)]
        text = self.ok(*words)
        found = re.search(r"^Token: (\S+)", text, re.M)
        if not found:
            raise AssertionError(f"token generate printed no token: {text!r}")
        return found.group(1)

    def create_entry(self, spiffe_id, parent, selectors, *flags):
        """Creates an entry and returns its ID."""
        if "://" not in spiffe_id:
            spiffe_id = self.id(spiffe_id)
        words = ["entry", "create", "-spiffeID", spiffe_id, "-parentID", parent]
        for selector in selectors:
            words += ["-selector", selector]
        text = self.ok(*words, *[str(flag) for flag in flags])
        found = re.search(r"^Entry ID\s*: (\S+)", text, re.M)
        if not found:
            raise AssertionError(f"entry create printed no entry ID: {text!r}")
        return found.group(1)

    def delete_entry(self, entry_id):
        return self.ok("entry", "delete", "-entryID", entry_id)

    def entries(self):
        """All entries, as the API's JSON."""
        return self.json("entry", "show").get("entries") or []

    def bundle_pem(self):
        return self.ok("bundle", "show", "-format", "pem")

    def id(self, path):
        return f"spiffe://{self.trust_domain}/{path.lstrip('/')}"

    # MARK: API

    def channel(self):
        import grpc
        channel = grpc.insecure_channel(
            f"unix:{self.socket}",
            options=[("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1),
                     ("grpc.max_receive_message_length", -1)])
        self.scenario.at_end(channel.close)
        return channel

    def stub(self, service):
        return protos.stub(service, self.channel())


class Agent:
    """A cygnet-agent of a server. Keyword arguments go into the `agent` block."""

    def __init__(self, scenario, server, name="agent", **settings):
        self.scenario = scenario
        self.server = server
        self.name = name
        self.data_dir = scenario.path(name, "data", "x")[:-2]
        self.socket = scenario.path(name, "public", "api.sock")
        os.chmod(os.path.dirname(self.socket), 0o755)
        os.chmod(os.path.dirname(os.path.dirname(self.socket)), 0o755)
        self.config = scenario.path(name, "agent.conf")
        self.bundle = scenario.path(name, "bootstrap.pem")
        self.settings = settings
        # Blocks beside `agent` and `plugins`, as they are to stand in the file.
        self.more = ""
        self.token = None
        self.daemon = None

    @property
    def id(self):
        return self.server.id(f"spire/agent/join_token/{self.token}")

    @property
    def address(self):
        """The value for SPIFFE_ENDPOINT_SOCKET."""
        return f"unix://{self.socket}"

    def write_config(self):
        block = {
            "trust_domain": self.server.trust_domain,
            "data_dir": self.data_dir,
            "server_address": "127.0.0.1",
            "server_port": self.server.port,
            "socket_path": self.socket,
            "trust_bundle_path": self.bundle,
            "log_level": "DEBUG",
        }
        block.update(self.settings)
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"""# Written by the scenario tests.
agent {{
{hcl(block)}
}}

plugins {{
    KeyManager "disk" {{
        plugin_data {{
            directory = {json.dumps(self.data_dir)}
        }}
    }}
    NodeAttestor "join_token" {{
        plugin_data {{}}
    }}
    WorkloadAttestor "unix" {{
        plugin_data {{
            discover_workload_path = true
        }}
    }}
}}
{self.more}
""")

    def launch(self, token=None):
        """Starts the program without waiting. A token is needed only the first time."""
        if not os.path.exists(self.bundle):
            with open(self.bundle, "w", encoding="utf-8") as file:
                file.write(self.server.bundle_pem())
        self.write_config()
        words = [binary("cygnet-agent"), "run", "-config", self.config]
        if token:
            self.token = token
            words += ["-joinToken", token]
        self.daemon = self.scenario.daemon(self.name, words)
        return self

    def start(self, token=None, timeout=20.0):
        """Starts the agent; the first time with a fresh join token."""
        if token is None and self.token is None:
            token = self.server.token()
        self.launch(token)
        return self.wait_ready(timeout)

    def wait_ready(self, timeout=20.0):
        def ready():
            if not self.daemon.alive:
                raise AssertionError(
                    f"{self.name} ended with {self.daemon.exit_code}:\n{self.daemon.log_tail()}")
            return os.path.exists(self.socket) and self.healthy()
        wait_until(f"{self.name} is healthy", ready, timeout)
        return self

    def healthy(self):
        return self.cli("healthcheck").returncode == 0

    def stop(self):
        return self.daemon.stop()

    def kill(self):
        self.daemon.kill()

    def cli(self, *words, timeout=30, check=False, **options):
        """Runs a command of cygnet-agent against this agent's socket."""
        return run([binary("cygnet-agent"), *words, "-socketPath", self.socket], timeout=timeout,
                   check=check, **options)

    def channel(self, **options):
        import grpc
        settings = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        settings += [(key, value) for key, value in options.items()]
        channel = grpc.insecure_channel(f"unix:{self.socket}", options=settings)
        self.scenario.at_end(channel.close)
        return channel

    def workload_api(self):
        return protos.stub(protos.WORKLOAD_API, self.channel())
