import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import SPIFFEBroker

@Suite("Workload references")
struct WorkloadReferenceTests {
    private static let uid = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"

    @Test("BRK-04, BRK-13: a PID is positive, and the only thing in its reference")
    func pids() throws {
        let reference = try WorkloadReference.process(4711)
        #expect(reference.isLocal && reference.description == "pid 4711")
        let packed = reference.message.reference
        #expect(packed.typeURL == "type.googleapis.com/spiffe.broker.WorkloadPIDReference")
        let message = try Spiffe_Broker_WorkloadPIDReference(serializedBytes: [UInt8](packed.value))
        #expect(message.pid == 4711)
        for pid in [0, -1, Int32.min] {
            let error = #expect(throws: BrokerError.self) { try WorkloadReference.process(pid) }
            #expect(error?.code == .invalidReference)
        }
    }

    @Test(
        "BRK-15 to BRK-19: Kubernetes objects have kind, group, and a name in its scope or a UID, or both"
    )
    func goodObjects() throws {
        let pod = try KubernetesObject(
            plural: "pods", group: "core", name: .namespaced(namespace: "shop", name: "checkout"),
            uid: Self.uid)
        #expect(pod.message.type.plural == "pods" && pod.message.type.group == "core")
        #expect(pod.message.key.namespace == "shop" && pod.message.key.name == "checkout")
        #expect(pod.message.uid == Self.uid)
        let node = try KubernetesObject(
            plural: "nodes", group: "core", name: .clusterScoped(name: "n1"))
        #expect(node.message.key.namespace.isEmpty && node.message.key.name == "n1")
        let custom = try KubernetesObject(
            plural: "kustomizations", group: "kustomize.toolkit.fluxcd.io", uid: Self.uid)
        #expect(!custom.message.hasKey && custom.message.uid == Self.uid)
        let reference = try WorkloadReference.kubernetes(custom)
        #expect(!reference.isLocal)
        #expect(
            reference.typeURL == "type.googleapis.com/spiffe.broker.KubernetesObjectReference")
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        let name: String
        let plural: String
        let group: String
        let key: KubernetesObject.Name?
        let uid: String?
        var testDescription: String { self.name }
    }

    @Test(
        "BRK-15 to BRK-19: what breaks a rule is refused before it is sent",
        arguments: [
            Bad(
                name: "no plural", plural: "", group: "core", key: .clusterScoped(name: "x"),
                uid: nil),
            Bad(
                name: "no group", plural: "nodes", group: "", key: .clusterScoped(name: "x"),
                uid: nil),
            Bad(name: "neither key nor UID", plural: "pods", group: "core", key: nil, uid: nil),
            Bad(
                name: "no name", plural: "pods", group: "core",
                key: .namespaced(namespace: "n", name: ""), uid: nil),
            Bad(
                name: "no namespace", plural: "deployments", group: "apps",
                key: .namespaced(namespace: "", name: "x"), uid: nil),
            Bad(
                name: "a pod without namespace", plural: "pods", group: "core",
                key: .clusterScoped(name: "x"), uid: nil),
            Bad(
                name: "a node with namespace", plural: "nodes", group: "core",
                key: .namespaced(namespace: "n", name: "x"), uid: nil),
            Bad(name: "a UID that is none", plural: "pods", group: "core", key: nil, uid: "abc"),
            Bad(name: "an empty UID", plural: "pods", group: "core", key: nil, uid: ""),
        ])
    func badObjects(_ bad: Bad) {
        let error = #expect(throws: BrokerError.self) {
            try KubernetesObject(
                plural: bad.plural, group: bad.group, name: bad.key, uid: bad.uid)
        }
        #expect(error?.code == .invalidReference)
    }

    @Test("BRK-21: a vendor's reference has a type with a slash and a name")
    func vendors() throws {
        let reference = try WorkloadReference.custom(
            typeURL: "example.org/acme.Reference", value: [1, 2], isLocal: true)
        #expect(reference.message.reference.typeURL == "example.org/acme.Reference")
        #expect([UInt8](reference.message.reference.value) == [1, 2] && reference.isLocal)
        for typeURL in ["", "acme.Reference", "example.org/"] {
            #expect(throws: BrokerError.self) {
                try WorkloadReference.custom(typeURL: typeURL, value: [], isLocal: false)
            }
        }
    }

    @Test("BRK-08: a PID does not leave the node; other references may")
    func scope() async throws {
        let client = try BrokerClient(
            address: try BrokerAddress("tcp://broker.acme.test:8443"), svid: NoSVID(),
            bundles: X509BundleSet(), server: .oneOf([]))
        let process = try WorkloadReference.process(1)
        #expect(await self.code(client, process) == .referenceNotLocal)
        let object = try KubernetesObject(plural: "pods", group: "core", uid: Self.uid)
        // Gets as far as the broker's own identity, of which there is none.
        let pod = try WorkloadReference.kubernetes(object)
        #expect(await self.code(client, pod) == .noCredentials)
        let local = try BrokerClient(
            address: try BrokerAddress("tcp://127.0.0.1:8443"), svid: NoSVID(),
            bundles: X509BundleSet(), server: .oneOf([]))
        #expect(await self.code(local, process) == .noCredentials)
    }

    @Test("BRK-07: a process that is gone is not asked for, whoever has its number now")
    func gone() async throws {
        let client = try BrokerClient(
            address: try BrokerAddress("unix:///nowhere"), svid: NoSVID(),
            bundles: X509BundleSet(), server: .oneOf([]))
        let gone = try WorkloadReference.process(1, isAlive: { false })
        let there = try WorkloadReference.process(1, isAlive: { true })
        #expect(await self.code(client, gone) == .workloadNotFound)
        #expect(await self.code(client, there) == .noCredentials)
    }

    private func code(
        _ client: BrokerClient, _ reference: WorkloadReference
    ) async -> BrokerError.Code? {
        do throws(BrokerError) {
            _ = try await client.fetchX509Context(of: reference)
            return nil
        } catch {
            return error.code
        }
    }
}

/// A broker that has no identity yet.
struct NoSVID: X509SVIDSource {
    struct Missing: Error {}
    func x509SVID() throws -> SPIFFE.X509SVID { throw Missing() }
}
