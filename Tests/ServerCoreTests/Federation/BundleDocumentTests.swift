import Foundation
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

@Suite struct BundleDocumentTests {
    @Test
    func
        `BND-01, BND-02, BND-05, BND-09, BND-10, BND-16: the document is a SPIFFE bundle with sequence and hint`()
        async throws
    {
        let plane = try await TestPlane()
        let bundle = try #require(plane.directory.ownBundle)
        let document = try BundleDocument(bundle, refreshHint: .milliseconds(90_500))
        let members = try #require(
            JSONSerialization.jsonObject(with: Data(document.bytes)) as? [String: Any])
        #expect((members["spiffe_sequence"] as? Int).map { UInt64($0) } == bundle.sequenceNumber)
        #expect(members["spiffe_refresh_hint"] as? Int == 91)
        let keys = try #require(members["keys"] as? [[String: Any]])
        #expect(keys.compactMap { $0["use"] as? String }.sorted() == ["jwt-svid", "x509-svid"])
        let read = try SPIFFEBundle(trustDomain: plane.trustDomain, json: document.bytes)
        #expect(read.x509Authorities == bundle.x509Authorities.map(\.der))
        #expect(read.jwtAuthorities.map(\.keyID) == bundle.jwtAuthorities.map(\.keyID))
        #expect(String(validating: document.bytes, as: UTF8.self) != nil)
        #expect(document.bytes.first == UInt8(ascii: "{"), "FED-13: no byte order mark")
    }

    @Test func `BND-07: another content is another sequence number and another entity tag`()
        async throws
    {
        let plane = try await TestPlane()
        let before = try BundleDocument(
            try #require(plane.directory.ownBundle), refreshHint: .seconds(300))
        let again = try BundleDocument(
            try #require(plane.directory.ownBundle), refreshHint: .seconds(300))
        #expect(before == again)
        _ = try await plane.store.updateBundle(plane.trustDomain) { $0.jwtAuthorities = [] }
        let after = try BundleDocument(
            try #require(plane.directory.ownBundle), refreshHint: .seconds(300))
        #expect(after.sequenceNumber > before.sequenceNumber)
        #expect(after.entityTag != before.entityTag)
    }

    @Test func namesBytesByTheirHash() {
        // printf '' | openssl sha256 -> e3b0c44298fc1c149afbf4c8996fb924…
        #expect(EntityTag.of([]) == "\"e3b0c44298fc1c149afbf4c8996fb924\"")
    }

    @Test func refusesAnAuthorityThatIsNone() async throws {
        let plane = try await TestPlane()
        var bundle = try #require(plane.directory.ownBundle)
        bundle.x509Authorities.append(.init(der: [0x30, 0x00]))
        #expect(throws: BundleError.self) {
            try BundleDocument(bundle, refreshHint: .seconds(300))
        }
    }
}
