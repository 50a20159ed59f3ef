import ControlPlaneProto
import Foundation
import SwiftProtobuf
import Testing

@testable import AgentEndpoints

@Suite struct DescriptorIndexTests {
    /// `outer.proto` imports `inner.proto`, which imports `outer.proto`: no compiler allows that, bytes do.
    private func index() throws -> DescriptorIndex {
        let outer = Google_Protobuf_FileDescriptorProto.with {
            $0.name = "outer.proto"
            $0.package = "a.b"
            $0.dependency = ["inner.proto", "missing.proto"]
            $0.service = [
                .with {
                    $0.name = "S"
                    $0.method = [.with { $0.name = "M" }]
                }
            ]
            $0.messageType = [
                .with {
                    $0.name = "Outer"
                    $0.field = [.with { $0.name = "field" }]
                    $0.oneofDecl = [.with { $0.name = "choice" }]
                    $0.nestedType = [.with { $0.name = "Nested" }]
                    $0.enumType = [
                        .with {
                            $0.name = "E"
                            $0.value = [.with { $0.name = "ONE" }]
                        }
                    ]
                }
            ]
        }
        let inner = Google_Protobuf_FileDescriptorProto.with {
            $0.name = "inner.proto"
            $0.dependency = ["outer.proto"]
            $0.messageType = [.with { $0.name = "NoPackage" }]
        }
        let set = Google_Protobuf_FileDescriptorSet.with { $0.file = [inner, outer] }
        return try DescriptorIndex(descriptorSet: set.serializedBytes() as [UInt8])
    }

    @Test(arguments: [
        "a.b.S", ".a.b.S", "a.b.S.M", "a.b.Outer", "a.b.Outer.field", "a.b.Outer.choice",
        "a.b.Outer.Nested", "a.b.Outer.E", "a.b.Outer.ONE",
    ])
    func everyDeclarationIsFound(_ symbol: String) throws {
        #expect(try self.index().file(declaring: symbol) == "outer.proto")
    }

    @Test(arguments: ["", ".", "a.b", "a.b.", "a.b.Outer.E.ONE", "NoPackage.", "..a.b.S", "Outer"])
    func whatIsNotDeclaredIsNotFound(_ symbol: String) throws {
        let index = try self.index()
        #expect(throws: DescriptorIndex.NotFound.self) { try index.file(declaring: symbol) }
    }

    @Test func aFileComesFirstAndEachImportOnce() throws {
        let index = try self.index()
        #expect(
            try index.files(named: "outer.proto").map(\.name) == ["outer.proto", "inner.proto"])
        #expect(try index.file(declaring: "NoPackage") == "inner.proto")
        #expect(
            try index.files(named: "inner.proto").map(\.name) == ["inner.proto", "outer.proto"])
        #expect(throws: DescriptorIndex.NotFound.self) { try index.files(named: "missing.proto") }
    }

    @Test func longNamesFromOutsideAreCut() throws {
        let index = try self.index()
        do {
            _ = try index.file(declaring: String(repeating: "é", count: 50_000))
            Issue.record("found")
        } catch {
            #expect(error.message.utf8.count < 300)
        }
    }

    @Test func bytesThatAreNoDescriptorsAreRefused() {
        #expect(throws: (any Error).self) {
            try DescriptorIndex(descriptorSet: [0xff, 0xff, 0xff] as [UInt8])
        }
    }

    @Test(
        "WEP-22: the generated descriptors name the Workload API, and each file has all its imports"
    )
    func generatedDescriptors() throws {
        let text = PublicSocketDescriptors.base64.description
        let bytes = try #require(Data(base64Encoded: text))
        let index = try DescriptorIndex(descriptorSet: bytes)
        #expect(
            index.services == [
                "SpiffeWorkloadAPI", "cygnet.workload.v1.Custody",
                "cygnet.workload.v1.PartnerLimits",
                "cygnet.workload.v1.WorkloadRevocations",
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
            ])
        let names = try index.files(named: "workload/workload.proto").map(\.name)
        #expect(names == ["workload/workload.proto", "google/protobuf/struct.proto"])
    }
}
