"""What the Workload API looks like on the wire: methods, paths, fields, and what a caller need not bring."""
import os
import stat

import grpc
from harness import certificates, own_selectors, protos, wait_until
from harness.streams import code_of, ids, watch_x509

UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED

# Method → whether it streams, request, response.
METHODS = {
    "FetchX509SVID": (True, "X509SVIDRequest", "X509SVIDResponse"),
    "FetchX509Bundles": (True, "X509BundlesRequest", "X509BundlesResponse"),
    "FetchJWTSVID": (False, "JWTSVIDRequest", "JWTSVIDResponse"),
    "FetchJWTBundles": (True, "JWTBundlesRequest", "JWTBundlesResponse"),
    "ValidateJWTSVID": (False, "ValidateJWTSVIDRequest", "ValidateJWTSVIDResponse"),
    "FetchWITSVID": (True, "WITSVIDRequest", "WITSVIDResponse"),
    "FetchWITBundles": (True, "WITBundlesRequest", "WITBundlesResponse"),
}
# Message → its fields as number, name, type.
FIELDS = {
    "X509SVIDRequest": [], "X509BundlesRequest": [], "JWTBundlesRequest": [], "WITBundlesRequest": [],
    "X509SVIDResponse": [(1, "svids", "[X509SVID]"), (2, "crl", "[bytes]"),
                         (3, "federated_bundles", "{string: bytes}")],
    "X509SVID": [(1, "spiffe_id", "string"), (2, "x509_svid", "bytes"), (3, "x509_svid_key", "bytes"),
                 (4, "bundle", "bytes"), (5, "hint", "string")],
    "X509BundlesResponse": [(1, "crl", "[bytes]"), (2, "bundles", "{string: bytes}")],
    "JWTSVIDRequest": [(1, "audience", "[string]"), (2, "spiffe_id", "string")],
    "JWTSVIDResponse": [(1, "svids", "[JWTSVID]")],
    "JWTSVID": [(1, "spiffe_id", "string"), (2, "svid", "string"), (3, "hint", "string")],
    "JWTBundlesResponse": [(1, "bundles", "{string: bytes}")],
    "ValidateJWTSVIDRequest": [(1, "audience", "string"), (2, "svid", "string")],
    "ValidateJWTSVIDResponse": [(1, "spiffe_id", "string"), (2, "claims", "google.protobuf.Struct")],
    "WITSVIDRequest": [(1, "spiffe_id", "string")],
    "WITSVIDResponse": [(1, "svids", "[WITSVID]")],
    "WITSVID": [(1, "spiffe_id", "string"), (2, "wit_svid", "string"), (3, "wit_svid_key", "string"),
                (4, "hint", "string")],
    "WITBundlesResponse": [(1, "bundles", "{string: string}")],
}


def type_of(field):
    """The type of a field as the table above writes it."""
    names = {field.TYPE_STRING: "string", field.TYPE_BYTES: "bytes"}
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        key, value = message.fields_by_name["key"], message.fields_by_name["value"]
        return f"{{{type_of(key)}: {type_of(value)}}}"
    name = message.full_name if message is not None else names.get(field.type, str(field.type))
    return f"[{name}]" if field.is_repeated else name


def check(s, server, agent):
    m = protos.messages(protos.WORKLOAD_API)

    with s.check("WEP-21, WAPI-05: methods, messages and fields are those of the standard"):
        service = m.DESCRIPTOR.services_by_name["SpiffeWorkloadAPI"]
        assert service.full_name == "SpiffeWorkloadAPI", service.full_name
        found = {method.name: (method.server_streaming, method.input_type.name,
                               method.output_type.name) for method in service.methods}
        assert found == METHODS, found
        assert not any(method.client_streaming for method in service.methods)
        messages = m.DESCRIPTOR.message_types_by_name
        assert set(messages) == set(FIELDS), set(messages) ^ set(FIELDS)
        for name, fields in FIELDS.items():
            found = [(field.number, field.name, type_of(field)) for field in messages[name].fields]
            assert found == fields, f"{name}: {found}"

    with s.check("WAPI-01, WAPI-06, WEP-22: five methods answer, under paths without a package"):
        channel = agent.channel()
        for name, answers in (("FetchX509SVID", True), ("FetchX509Bundles", True),
                              ("FetchJWTSVID", True), ("FetchJWTBundles", True),
                              ("ValidateJWTSVID", True), ("fetchX509SVID", False)):
            for service in ("SpiffeWorkloadAPI", "spiffe.workload.SpiffeWorkloadAPI", "WorkloadAPI"):
                call = channel.unary_unary(f"/{service}/{name}")
                code, text = code_of(call, b"", metadata=protos.HEADER, timeout=10)
                missing = service != "SpiffeWorkloadAPI" or not answers
                assert (code == UNIMPLEMENTED) == missing, f"/{service}/{name}: {code} {text}"

    with s.check("TRAP-41: everybody may open the socket; attestation decides"):
        mode = os.stat(agent.socket).st_mode
        assert stat.S_ISSOCK(mode) and mode & 0o777 == 0o777, oct(mode)


def callers(s, server, agent):
    """With an identity registered for this process."""
    m = protos.messages(protos.WORKLOAD_API)
    with s.check("WEP-02, WEP-07, WEP-12, TRAP-30: stock gRPC, no TLS, no credential, any authority"):
        for authority in ("localhost", "agent.example.org:443", "x"):
            api = protos.stub(protos.WORKLOAD_API, agent.channel(**{
                "grpc.default_authority": authority}))
            message = watch_x509(api).next(10)
            assert message.svids, f"nothing for authority {authority}"

    with s.check("ID-14: an ID of 2048 bytes is stored, signed into each kind of SVID and streamed"):
        prefix = server.id("long/")
        path = "long/" + "p" * (2048 - len(prefix))
        assert len(server.id(path)) == 2048
        entry = server.create_entry(path, agent.id, own_selectors(), "-hint", "long")
        try:
            api = agent.workload_api()
            watch = watch_x509(api)
            message = watch.until(lambda message: server.id(path) in ids(message))
            svid = next(svid for svid in message.svids if svid.hint == "long")
            leaf = certificates.load_chain(svid.x509_svid)[0]
            assert certificates.uri_sans(leaf) == [server.id(path)]
            answer = api.FetchJWTSVID(
                m.JWTSVIDRequest(audience=["a"], spiffe_id=server.id(path)),
                metadata=protos.HEADER, timeout=10)
            _, claims = certificates.token_parts(answer.svids[0].svid)
            assert claims["sub"] == server.id(path)
            valid = api.ValidateJWTSVID(
                m.ValidateJWTSVIDRequest(audience="a", svid=answer.svids[0].svid),
                metadata=protos.HEADER, timeout=10)
            assert valid.spiffe_id == server.id(path)
            assert server.id(path) in server.ok("entry", "show", "-entryID", entry)
            watch.cancel()
        finally:
            server.delete_entry(entry)
        wait_until("the long ID is gone", lambda: server.id(path) not in ids(
            watch_x509(agent.workload_api()).next(10)))
