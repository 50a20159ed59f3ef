import Foundation
import PluginAPI
import SPIFFE
import SPIFFETesting
import Testing

@testable import Plugins

@Suite struct FileBundlePublisherTests {
    private func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = FileManager.default.temporaryDirectory.path + "/publisher-\(UUID())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    @Test func replacesTheFileAndLeavesNothingBeside() async throws {
        try await self.withFolder { folder in
            let path = folder + "/bundle"
            let publisher = FileBundlePublisher(.init(path: path, format: .spiffe))
            let authority = try TestAuthority("example.org")
            try await publisher.publish(try authority.bundle)
            try authority.rotate()
            let bundle = try authority.bundle
            try await publisher.publish(bundle)
            let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
            #expect(bytes == bundle.json())
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["bundle"])
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            #expect(attributes[.posixPermissions] as? Int == 0o644)
        }
    }

    @Test func keepsTheOldFileWhenItCannotWrite() async throws {
        try await self.withFolder { folder in
            let bundle = try TestAuthority("example.org").bundle
            for path in [folder, folder + "/missing/bundle"] {
                let publisher = FileBundlePublisher(.init(path: path, format: .pem))
                await #expect {
                    try await publisher.publish(bundle)
                } throws: { error in
                    (error as? BundlePublisherError)?.code == .refused
                }
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
        }
    }

    @Test func writesThreeFormats() throws {
        let authority = try TestAuthority("example.org")
        let bundle = try authority.bundle
        let spiffe = try SPIFFEBundle(
            trustDomain: bundle.trustDomain,
            json: BundleFormat.spiffe.document(bundle, refreshHint: .seconds(77)))
        #expect(spiffe.refreshHint == .seconds(77))
        #expect(spiffe.sequenceNumber == bundle.sequenceNumber)
        #expect(spiffe.x509Authorities == bundle.x509Authorities)

        let jwks = try JSONValue(parsing: BundleFormat.jwks.document(bundle))
        #expect(jwks.objectValue?.count == 1)
        let keys = try #require(jwks["keys"]?.arrayValue)
        #expect(keys.count == 2 && keys.allSatisfy { $0["use"] == nil && $0["kty"] != nil })
        #expect(keys.filter { $0["x5c"] != nil }.count == 1)
        #expect(keys.filter { $0["kid"] != nil }.count == 1)

        let pem = String(decoding: try BundleFormat.pem.document(bundle), as: UTF8.self)
        #expect(pem.hasPrefix("-----BEGIN CERTIFICATE-----\n"))
        #expect(pem.hasSuffix("\n-----END CERTIFICATE-----\n"))
        let lines = pem.split(separator: "\n").filter { !$0.hasPrefix("-") }
        #expect(lines.allSatisfy { $0.utf8.count <= 64 })
        #expect(
            Data(base64Encoded: lines.joined()).map { [UInt8]($0) } == bundle.x509Authorities[0])
    }

    @Test func writesNoEmptyPEM() throws {
        let bundle = try SPIFFEBundle(trustDomain: TrustDomain("example.org"))
        #expect(throws: BundlePublisherError.self) { _ = try BundleFormat.pem.document(bundle) }
    }
}
