"""Server reflection on the Workload API socket, asked by the stock client: from nothing but the socket to an SVID."""
import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from harness import Agent, Server, main, own_selectors, protos, wait_until

SERVICES = {"SpiffeWorkloadAPI", "cygnet.workload.v1.Custody", "cygnet.workload.v1.PartnerLimits",
            "cygnet.workload.v1.WorkloadRevocations", "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
V1 = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def ask_v1(channel, *questions):
    """The answers under the name v1; the messages are the same as those of v1alpha."""
    call = channel.stream_stream(
        V1, request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)
    return list(call(iter([reflection_pb2.ServerReflectionRequest(**question) for question in questions]),
                     timeout=20))


def files(answer):
    return [descriptor_pb2.FileDescriptorProto.FromString(data).name
            for data in answer.file_descriptor_response.file_descriptor_proto]


def without_json_names(message):
    """Compilers differ in whether they write the names that follow from the others."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        without_json_names(nested)


def body(s):
    server = Server(s).start()
    agent = Agent(s, server).start()
    server.create_entry("reflected", agent.id, own_selectors())
    channel = grpc.insecure_channel(f"unix:{agent.socket}")
    database = ProtoReflectionDescriptorDatabase(channel)

    with s.check("WEP-22, WEP-23: v1alpha lists the services of the socket without the security header"):
        assert set(database.get_services()) == SERVICES, database.get_services()

    with s.check("WEP-23: v1 lists the same, in the same words"):
        (answer,) = ask_v1(channel, {"list_services": "*", "host": "here"})
        assert {service.name for service in answer.list_services_response.service} == SERVICES
        assert answer.valid_host == "here" and answer.original_request.list_services == "*"

    with s.check("a client that knows only the socket calls FetchX509SVID"):
        pool = descriptor_pool.DescriptorPool(database)
        method = pool.FindServiceByName("SpiffeWorkloadAPI").FindMethodByName("FetchX509SVID")
        request = message_factory.GetMessageClass(method.input_type)()
        response = message_factory.GetMessageClass(method.output_type)
        call = channel.unary_stream(
            "/SpiffeWorkloadAPI/FetchX509SVID", request_serializer=lambda made: made.SerializeToString(),
            response_deserializer=response.FromString)

        def fetched():
            try:
                stream = call(request, metadata=protos.HEADER, timeout=10)
                first = next(stream)
                stream.cancel()
                return first
            except grpc.RpcError:
                return None
        first = wait_until("an SVID", fetched, 20)
        assert first.svids[0].spiffe_id == server.id("reflected"), first.svids[0].spiffe_id

    with s.check("WEP-21, WAPI-05: what is reflected is what Protos/ says, method for method and field for field"):
        ours = protos.messages(protos.WORKLOAD_API).DESCRIPTOR
        theirs = pool.FindFileContainingSymbol("SpiffeWorkloadAPI")
        expected, got = descriptor_pb2.FileDescriptorProto(), descriptor_pb2.FileDescriptorProto()
        ours.CopyToProto(expected), theirs.CopyToProto(got)
        assert expected.service == got.service, got.service
        for message in [*expected.message_type, *got.message_type]:
            without_json_names(message)
        assert expected.message_type == got.message_type

    with s.check("files come with what they import, and each only once on a stream"):
        answers = ask_v1(
            channel, {"file_containing_symbol": "SpiffeWorkloadAPI"},
            {"file_containing_symbol": ".SpiffeWorkloadAPI.FetchX509SVID"},
            {"file_by_filename": "google/protobuf/struct.proto"},
            {"file_containing_symbol": "X509SVIDResponse.svids"},
            {"file_containing_symbol": "grpc.health.v1.HealthCheckResponse.SERVING"})
        assert files(answers[0]) == ["workload/workload.proto", "google/protobuf/struct.proto"], files(answers[0])
        assert files(answers[1]) == ["workload/workload.proto"], files(answers[1])
        assert files(answers[2]) == ["google/protobuf/struct.proto"], files(answers[2])
        assert files(answers[3]) == ["workload/workload.proto"], files(answers[3])
        assert files(answers[4]) == ["grpc/health/v1/health.proto"], files(answers[4])

    with s.check("what is not there is an answer and not the end of the stream"):
        extension = reflection_pb2.ExtensionRequest(containing_type="X509SVID", extension_number=7)
        answers = ask_v1(
            channel, {"file_containing_symbol": "No.Such"}, {"file_by_filename": "../../etc/passwd"},
            {"file_containing_symbol": ""}, {"file_containing_symbol": "x" * 60_000},
            {"file_containing_extension": extension}, {"all_extension_numbers_of_type": "No.Such"},
            {"all_extension_numbers_of_type": "X509SVID"}, {}, {"list_services": ""})
        codes = [answer.error_response.error_code for answer in answers]
        assert codes == [5, 5, 5, 5, 5, 5, 0, 3, 0], codes
        assert all(len(answer.error_response.error_message) < 300 for answer in answers)
        assert answers[6].all_extension_numbers_response.base_type_name == "X509SVID"
        assert len(answers[8].list_services_response.service) == len(SERVICES)

    with s.check("a request that is no message ends its own call only"):
        raw = channel.stream_stream(V1)
        try:
            list(raw(iter([b"\xff\xff\xff"]), timeout=20))
            raise AssertionError("rubbish was answered")
        except grpc.RpcError as refused:
            assert refused.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL), refused
        assert set(database.get_services()) == SERVICES

    with s.check("many at once, each with many questions"):
        question = {"file_containing_symbol": "SpiffeWorkloadAPI"}
        stubs = reflection_pb2_grpc.ServerReflectionStub(channel)
        calls = [stubs.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**question)] * 50))
                 for _ in range(50)]
        assert sum(len(list(call)) for call in calls) == 2500
    channel.close()


if __name__ == "__main__":
    main(__file__, body)
