import Foundation
import GRPCCore
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import AgentEndpoints

@Suite("Requests of the Broker API")
struct BrokerRequestTests {
    private static let pidType = "type.googleapis.com/spiffe.broker.WorkloadPIDReference"
    private static let kubernetesType =
        "type.googleapis.com/spiffe.broker.KubernetesObjectReference"

    private static func pid(_ pid: Int32) -> [UInt8] {
        (try? Spiffe_Broker_WorkloadPIDReference.with { $0.pid = pid }.serializedBytes()) ?? []
    }

    private static func reference(
        _ typeURL: String, _ value: [UInt8]
    ) -> Spiffe_Broker_WorkloadReference {
        .with {
            $0.reference = .with {
                $0.typeURL = typeURL
                $0.value = Data(value)
            }
        }
    }

    private func refusal(
        _ reference: Spiffe_Broker_WorkloadReference?, _ method: BrokerMethod
    ) throws -> BrokerRefusal? {
        let bytes: [UInt8]
        switch method {
        case .subscribeToX509SVID:
            bytes = try Spiffe_Broker_SubscribeToX509SVIDRequest.with {
                if let reference { $0.reference = reference }
            }.serializedBytes()
        case .subscribeToX509Bundles:
            bytes = try Spiffe_Broker_SubscribeToX509BundlesRequest.with {
                if let reference { $0.reference = reference }
            }.serializedBytes()
        case .subscribeToJWTBundles:
            bytes = try Spiffe_Broker_SubscribeToJWTBundlesRequest.with {
                if let reference { $0.reference = reference }
            }.serializedBytes()
        case .fetchJWTSVID:
            bytes = try Spiffe_Broker_FetchJWTSVIDRequest.with {
                if let reference { $0.reference = reference }
                $0.audience = ["x"]
            }.serializedBytes()
        }
        do throws(BrokerRefusal) {
            _ = try BrokerRequest(method, bytes)
            return nil
        } catch {
            return error
        }
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        let name: String
        let typeURL: String?
        let value: [UInt8]
        var testDescription: String { self.name }
    }

    @Test(
        "BRK-05, BRK-06, BRK-13, BRK-21: a reference that is absent, malformed or of another type is INVALID_ARGUMENT on every method",
        arguments: [
            Bad(name: "no Any in it", typeURL: nil, value: []),
            Bad(name: "no type", typeURL: "", value: BrokerRequestTests.pid(1)),
            Bad(
                name: "no slash", typeURL: "spiffe.broker.WorkloadPIDReference",
                value: BrokerRequestTests.pid(1)),
            Bad(name: "nothing behind the slash", typeURL: "type.googleapis.com/", value: []),
            Bad(
                name: "unknown type", typeURL: "type.googleapis.com/acme.Foo",
                value: BrokerRequestTests.pid(1)),
            Bad(
                name: "the name of another message",
                typeURL: "type.googleapis.com/spiffe.broker.WorkloadReference",
                value: BrokerRequestTests.pid(1)),
            Bad(
                name: "a type URL of 60,000 bytes", typeURL: String(repeating: "/", count: 60_000),
                value: []),
            Bad(
                name: "PID 0", typeURL: BrokerRequestTests.pidType, value: BrokerRequestTests.pid(0)
            ),
            Bad(name: "no PID", typeURL: BrokerRequestTests.pidType, value: []),
            Bad(
                name: "PID −1", typeURL: BrokerRequestTests.pidType,
                value: BrokerRequestTests.pid(-1)),
            Bad(
                name: "the smallest PID", typeURL: BrokerRequestTests.pidType,
                value: BrokerRequestTests.pid(.min)),
            Bad(
                name: "not a message", typeURL: BrokerRequestTests.pidType,
                value: [0xff, 0xff, 0xff]),
            Bad(name: "a PID cut off", typeURL: BrokerRequestTests.pidType, value: [0x08, 0x80]),
            Bad(
                name: "a PID as text", typeURL: BrokerRequestTests.pidType,
                value: [0x0a, 0x01, 0x31]),
            Bad(name: "a Kubernetes object", typeURL: BrokerRequestTests.kubernetesType, value: []),
        ])
    func badReferences(_ bad: Bad) throws {
        for method in BrokerMethod.allCases {
            let reference = bad.typeURL.map { Self.reference($0, bad.value) }
            let refusal = try #require(
                try self.refusal(reference ?? Spiffe_Broker_WorkloadReference(), method))
            #expect(refusal.code == .invalidArgument && refusal.reason == .referenceInvalid)
            #expect(refusal.message.utf8.count < 300)
        }
    }

    @Test("BRK-05: a request without reference is INVALID_ARGUMENT with its reason")
    func noReference() throws {
        for method in BrokerMethod.allCases {
            let refusal = try #require(try self.refusal(nil, method))
            #expect(refusal.code == .invalidArgument && refusal.reason == .referenceInvalid)
        }
    }

    @Test("BRK-13: a positive PID is taken, whoever is said to define the type")
    func goodReferences() throws {
        for typeURL in [Self.pidType, "example.org/types/spiffe.broker.WorkloadPIDReference"] {
            for pid in [1, 4711, Int32.max] {
                let message = Self.reference(typeURL, Self.pid(pid))
                let reference = try WorkloadReference(message)
                #expect(reference == .pid(pid))
                #expect(reference.typeURL == BrokerPolicy.pidType)
            }
        }
        #expect(
            BrokerPolicy.pidType
                == "type.googleapis.com/" + Spiffe_Broker_WorkloadPIDReference.protoMessageName)
    }

    @Test(
        "BRK-31: FetchJWTSVID without audience, or with a malformed SPIFFE ID, is INVALID_ARGUMENT")
    func audience() throws {
        let cases: [(audience: [String], id: String)] = [
            ([], ""), ([""], ""), (["x"], "acme.test/x"), (["x"], "spiffe://acme.test/a b"),
        ]
        for (audience, id) in cases {
            let bytes: [UInt8] = try Spiffe_Broker_FetchJWTSVIDRequest.with {
                $0.reference = Self.reference(Self.pidType, Self.pid(1))
                $0.audience = audience
                $0.spiffeID = id
            }.serializedBytes()
            let error = #expect(throws: BrokerRefusal.self) {
                try BrokerRequest(.fetchJWTSVID, bytes)
            }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test("rubbish instead of a request is refused")
    func rubbish() {
        for method in BrokerMethod.allCases {
            let error = #expect(throws: BrokerRefusal.self) {
                try BrokerRequest(method, [0x0a, 0xff, 0xff])
            }
            #expect(error?.code == .invalidArgument)
        }
    }
}
