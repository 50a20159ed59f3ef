import AgentCore
import ControlPlaneProto
import Foundation
import GRPCCore
import GRPCProtobuf
import SPIFFE
import SPIFFEGRPC
import Testing
import WorkloadAPIProto
import X509

@testable import AgentEndpoints

@Suite("Refusals and policies of the Broker API")
struct BrokerRefusalTests {
    private func info(_ refusal: BrokerRefusal) throws -> ErrorDetails.ErrorInfo? {
        let error = RPCError(
            code: refusal.code, message: refusal.message, metadata: refusal.details)
        let status = try error.unpackGoogleRPCStatus()
        if let status {
            #expect(status.code == refusal.code && status.message == refusal.message)
        }
        return status?.details.compactMap(\.errorInfo).first
    }

    @Test("BRK-34: errors about a workload carry ErrorInfo with reason, domain and PID")
    func details() throws {
        let cases: [(BrokerRefusal, RPCError.Code, String, String?)] = [
            (.invalid("x"), .invalidArgument, "WORKLOAD_REFERENCE_INVALID", nil),
            (.notFound(7), .notFound, "WORKLOAD_NOT_FOUND", "7"),
            (.ended(7), .notFound, "WORKLOAD_NOT_FOUND", "7"),
            (.agentItself(7), .permissionDenied, "WORKLOAD_NOT_ENTITLED", "7"),
            (
                BrokerRefusal(.noIdentity, pid: 7, isAlive: true), .permissionDenied,
                "WORKLOAD_NOT_ENTITLED", "7"
            ),
        ]
        for (refusal, code, reason, pid) in cases {
            let info = try #require(try self.info(refusal))
            #expect(refusal.code == code && info.reason == reason)
            #expect(info.domain == "spiffe.io" && info.metadata["pid"] == pid)
        }
    }

    @Test("what the standard has no reason for carries no details")
    func noDetails() throws {
        for refusal: BrokerRefusal in [
            .noSecurityHeader, .unknownCaller, .expiredCaller, .callerNotListed,
            .typeDenied(isOnUnixSocket: true), .outOfScope(7), .malformed,
        ] {
            #expect(refusal.details.isEmpty)
            #expect(try self.info(refusal) == nil)
        }
    }

    @Test("BRK-32, BRK-33: of a workload that has ended nothing else is told")
    func ended() {
        for refusal: WorkloadRefusal in [.noIdentity, .attestationFailed, .notReady] {
            let mapped = BrokerRefusal(refusal, pid: 7, isAlive: false)
            #expect(mapped.code == .notFound && mapped.reason == .notFound)
        }
        #expect(BrokerRefusal(.notReady, pid: 7, isAlive: true).code == .unavailable)
        #expect(BrokerRefusal(.attestationFailed, pid: 7, isAlive: true).code == .unavailable)
    }

    @Test(
        "BRK-09, BRK-22, BRK-23: a broker may do what its policy says, over TCP only what it says so of"
    )
    func policies() throws {
        let pid = BrokerPolicy.pidType
        let none = try TestBroker.policy(types: [:])
        let local = try TestBroker.policy(types: [pid: false])
        let remote = try TestBroker.policy(types: [pid: true])
        let any = try TestBroker.policy(types: ["*": true, pid: false])
        #expect(!none.allows(pid, isOnUnixSocket: true))
        #expect(
            local.allows(pid, isOnUnixSocket: true) && !local.allows(pid, isOnUnixSocket: false))
        #expect(!local.allows("type.googleapis.com/acme.Foo", isOnUnixSocket: true))
        #expect(remote.allows(pid, isOnUnixSocket: false))
        #expect(any.allows("type.googleapis.com/acme.Foo", isOnUnixSocket: false))
        // What is said of one type goes before what is said of all.
        #expect(!any.allows(pid, isOnUnixSocket: false))
        let scoped = try TestBroker.policy(selectors: ["unix:uid:1", "unix:gid:2"])
        let selectors = try ["unix:uid:1", "unix:gid:2", "unix:gid:3"].map { try Selector($0) }
        #expect(scoped.covers(Set(selectors)))
        #expect(!scoped.covers(Set(selectors.prefix(1))) && !scoped.covers([]))
        #expect(local.covers([]))
    }

    @Test(
        "a caller without X509-SVID, or with one that has expired since the handshake, is UNAUTHENTICATED"
    )
    func callers() throws {
        let agent = try TestAgent()
        let cases: [(lasting: TimeInterval, expected: BrokerRefusal?)] = [
            (3600, nil), (-5, .expiredCaller),
        ]
        for (lasting, expected) in cases {
            let svid = try agent.svid("/broker", lasting: lasting)
            let verified = VerifiedX509SVID(id: svid.id, leaf: svid.leaf, chain: [svid.leaf])
            let peer = PeerContext(
                peer: .tls(verified: verified), remoteIPAddress: nil, isOnUnixSocket: true)
            #expect(peer.description == "unix:tls")
            do throws(BrokerRefusal) {
                let id = try BrokerCaller.verified(peer).id
                #expect(id == svid.id && expected == nil)
            } catch {
                #expect(error == expected)
            }
        }
        for peer in [PeerContext(peer: .tls(verified: nil), remoteIPAddress: "192.0.2.1"), nil] {
            #expect(throws: BrokerRefusal.unknownCaller) { try BrokerCaller.verified(peer) }
        }
    }

    @Test("BEP-04: the security header is there once, and is true in these letters")
    func header() {
        #expect(BrokerCaller.isComplete(["true"]))
        for values in [[], [""], ["TRUE"], ["True"], ["1"], ["true", "true"], ["true,true"]] {
            #expect(!BrokerCaller.isComplete(values))
        }
    }

    @Test(
        "BEP-14, BEP-16, BRK-02, BRK-03: the endpoint tells of the standard's service, its four methods, and reflection"
    )
    func descriptors() throws {
        let text = BrokerEndpointDescriptors.base64.description
        let bytes = try #require(Data(base64Encoded: text))
        let index = try DescriptorIndex(descriptorSet: bytes)
        #expect(
            index.services == [
                "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
                "spiffe.broker.API",
            ])
        let methods = Spiffe_Broker_API.Method.descriptors.map(\.fullyQualifiedMethod)
        #expect(
            methods.sorted()
                == BrokerMethod.allCases.map { "spiffe.broker.API/\($0.rawValue)" }.sorted())
    }
}
