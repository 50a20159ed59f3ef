"""Client stubs made from this repository's Protos/ at run time, with PyPI's grpcio-tools."""
import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROTOS = os.path.join(ROOT, "Protos")

_services = {}
_folder = None


def _files():
    for base, folders, names in os.walk(PROTOS):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".proto"):
                yield os.path.relpath(os.path.join(base, name), PROTOS)


def folder():
    """The folder with the generated modules; made once per content of Protos/."""
    global _folder
    if _folder:
        return _folder
    files = list(_files())
    digest = hashlib.sha256()
    for name in files:
        with open(os.path.join(PROTOS, name), "rb") as proto:
            digest.update(name.encode() + b"\0" + proto.read())
    target = os.path.join(ROOT, ".build", "scenario-stubs", digest.hexdigest()[:16])
    if not os.path.isdir(target):
        parent = os.path.dirname(target)
        os.makedirs(parent, exist_ok=True)
        made = tempfile.mkdtemp(dir=parent)
        os.chmod(made, 0o755)
        from grpc_tools import protoc  # only here: compiling is rare
        well_known = os.path.join(os.path.dirname(protoc.__file__), "_proto")
        subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{well_known}",
             f"--python_out={made}", f"--grpc_python_out={made}", *files], check=True)
        try:
            os.rename(made, target)
        except OSError:  # another scenario was faster
            shutil.rmtree(made, ignore_errors=True)
    if target not in sys.path:
        sys.path.insert(0, target)
    _folder = target
    _index()
    return target


def _index():
    for name in _files():
        with open(os.path.join(PROTOS, name), encoding="utf-8") as proto:
            text = proto.read()
        package = re.search(r"^package\s+([\w.]+);", text, re.M)
        module = name[: -len(".proto")].replace("-", "_").replace("/", ".")
        for service in re.findall(r"^service\s+(\w+)", text, re.M):
            full = f"{package.group(1)}.{service}" if package else service
            # A module named grpc.health would have to live inside the installed grpc package; the stock
            # client of the health service has it under another name.
            _services[full] = module.replace("grpc.health.", "grpc_health.")


def messages(service):
    """The module with the messages of a service, by its full name."""
    folder()
    return importlib.import_module(_services[service] + "_pb2")


def types(name):
    """The module of shared types, for example `types("entry")`."""
    folder()
    return importlib.import_module(f"spire.api.types.{name}_pb2")


def stub(service, channel):
    """A client of the service with that full name, for example `SpiffeWorkloadAPI`."""
    folder()
    module = importlib.import_module(_services[service] + "_pb2_grpc")
    return getattr(module, service.rsplit(".", 1)[-1] + "Stub")(channel)


WORKLOAD_API = "SpiffeWorkloadAPI"
ENTRY = "spire.api.server.entry.v1.Entry"
AGENT = "spire.api.server.agent.v1.Agent"
BUNDLE = "spire.api.server.bundle.v1.Bundle"
SVID = "spire.api.server.svid.v1.SVID"
CUSTODY = "cygnet.workload.v1.Custody"
REVOCATIONS = "cygnet.revocation.v1.Revocations"
HEALTH = "grpc.health.v1.Health"
HEADER = (("workload.spiffe.io", "true"),)
