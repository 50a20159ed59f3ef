"""Requests that the Broker Endpoint refuses, each with the status and the details that the standard asks for."""
import grpc
from broker_client import HEADER, PID_TYPE, Broker, messages, raw_reference, reference, refusal
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2

INVALID, DENIED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


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
