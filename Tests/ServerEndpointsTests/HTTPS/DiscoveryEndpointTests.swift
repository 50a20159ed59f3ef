import Crypto
import Foundation
import SPIFFE
import ServerCore
import ServerEndpoints
import ServerTestSupport
import ServiceRuntime
import SwiftASN1
import Testing
import X509

@Suite struct DiscoveryEndpointTests {
    private func routes(
        _ site: DiscoverySite = DiscoverySite(domains: ["oidc.test"]), isEncrypted: Bool = true
    ) async throws -> (TestPlane, DiscoveryRoutes) {
        let plane = try await TestPlane()
        return (
            plane,
            DiscoveryRoutes(
                site, keys: DirectoryKeySource(plane.directory), isEncrypted: isEncrypted)
        )
    }

    private func issuer(_ response: DocumentResponse?) throws -> String? {
        let body = try #require(response).body
        return (try JSONSerialization.jsonObject(with: Data(body)) as? [String: Any])?["issuer"]
            as? String
    }

    private static let document = "/.well-known/openid-configuration"

    @Test func believesTheProxyWithinTheDomains() async throws {
        let (_, routes) = try await self.routes(
            DiscoverySite(domains: ["oidc.test"], allowsInsecureScheme: true), isEncrypted: false)
        func ask(_ host: String?, forwarded: String? = nil, scheme: String? = nil)
            -> DocumentResponse?
        {
            routes.response(
                to: DocumentRequest(
                    path: Self.document, host: host, forwardedHost: forwarded,
                    forwardedScheme: scheme))
        }
        #expect(try self.issuer(ask("oidc.test")) == "http://oidc.test")
        #expect(try self.issuer(ask("oidc.test", scheme: "https")) == "https://oidc.test")
        #expect(try self.issuer(ask("inner:80", forwarded: "oidc.test")) == "http://oidc.test")
        #expect(ask("oidc.test", forwarded: "evil.test")?.status == 400)
        #expect(ask("evil.test")?.status == 400)
        #expect(ask(nil)?.status == 400)
    }

    @Test func givesKeysToAnybodyAndAnewAfterAChange() async throws {
        let (plane, routes) = try await self.routes()
        let first = routes.response(to: DocumentRequest(path: "/keys", host: "evil.test"))
        #expect(first?.status == 200 && first?.entityTag != nil)
        #expect(routes.response(to: DocumentRequest(path: "/keys")) == first)
        _ = try await plane.store.updateBundle(plane.trustDomain) { $0.jwtAuthorities = [] }
        let second = routes.response(to: DocumentRequest(path: "/keys"))
        #expect(second?.body == Array("{\"keys\":[]}".utf8))
        #expect(second?.entityTag != first?.entityTag)
        #expect(routes.response(to: DocumentRequest(path: "/")) == nil)
        #expect(routes.response(to: DocumentRequest(path: Self.document + "/")) == nil)
    }

    @Test func waitsForKeys() throws {
        struct NoKeys: DiscoveryKeySource {
            var version: UInt64? { nil }
            func keys() -> JWTBundle? { nil }
        }
        let routes = DiscoveryRoutes(
            DiscoverySite(domains: ["a"]), keys: NoKeys(), isEncrypted: true)
        #expect(routes.response(to: DocumentRequest(path: "/keys"))?.status == 503)
    }

    @Test(
        "an HTTPS listener shows the certificate of its files, also after a change, and keeps it when they break"
    )
    func reloadsItsCertificate() async throws {
        let files = try CertificateFiles()
        defer { files.remove() }
        let first = try files.write("oidc.test")
        let certificate = try files.load()
        let (plane, _) = try await self.routes()
        let endpoint = DiscoveryEndpoint(
            DiscoverySite(domains: ["oidc.test"]), keys: DirectoryKeySource(plane.directory),
            place: .tcp(host: "127.0.0.1", port: 0), certificate: certificate,
            logger: TestPlane.logger)
        try await HTTPSListening.with({ try await endpoint.run(onBound: $0) }) { port in
            let client = HTTPSClient(port: port)
            let answer = try await client.get(Self.document)
            #expect(answer.text.hasPrefix("HTTP/1.1 200") && answer.chain == [first])
            #expect(!certificate.reload(), "nothing has changed")

            // What may be found in the middle of a renewal, and worse.
            let other = P256.Signing.PrivateKey()
            for (certificateText, keyText) in [
                (nil, ""), (nil, "no key"), (nil, other.pemRepresentation), ("", nil),
                ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", nil),
                (String(repeating: "x", count: 2 << 20), nil),
            ] as [(String?, String?)] {
                try files.write("oidc.test")
                if let certificateText { try files.setCertificate(certificateText) }
                if let keyText { try files.setKey(keyText) }
                #expect(!certificate.reload())
                #expect(try await client.get(Self.document).chain == [first])
            }
            files.remove()
            #expect(!certificate.reload())
            #expect(try await client.get(Self.document).chain == [first])

            let second = try files.write("oidc.test")
            #expect(certificate.reload() && second != first)
            #expect(try await client.get(Self.document).chain == [second])
        }
    }

    @Test func refusesToStartWithoutACertificate() throws {
        let files = try CertificateFiles()
        defer { files.remove() }
        let missing = #expect(throws: ServerError.self) { try files.load() }
        #expect(missing?.message.contains("cert.pem") == true)
        try files.write("oidc.test")
        try files.setKey(P256.Signing.PrivateKey().pemRepresentation)
        let mismatch = #expect(throws: ServerError.self) { try files.load() }
        #expect(mismatch?.message.contains("is not that of the certificate") == true)
    }
}

/// A certificate and a key in a folder of their own.
struct CertificateFiles: Sendable {
    private let folder: String

    init() throws {
        self.folder = NSTemporaryDirectory() + "cygnet-" + UUID().uuidString.prefix(8)
    }

    private var certificatePath: String { self.folder + "/cert.pem" }
    private var keyPath: String { self.folder + "/key.pem" }

    func load() throws(ServerError) -> ServingCertificateFiles {
        try ServingCertificateFiles(
            certificatePath: self.certificatePath, keyPath: self.keyPath, interval: .seconds(3_600),
            logger: TestPlane.logger)
    }

    /// Writes a new self-signed certificate for that name; gives its DER.
    @discardableResult
    func write(_ name: String) throws -> [UInt8] {
        let key = P256.Signing.PrivateKey()
        let subject = try DistinguishedName { CommonName(name) }
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey),
            notValidBefore: Date() - 60, notValidAfter: Date() + 3_600, issuer: subject,
            subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try .init { SubjectAlternativeNames([.dnsName(name)]) },
            issuerPrivateKey: .init(key))
        let document = try certificate.serializeAsPEM()
        try self.setCertificate(document.pemString)
        try self.setKey(key.pemRepresentation)
        return document.derBytes
    }

    func setCertificate(_ text: String) throws { try self.set(self.certificatePath, text) }
    func setKey(_ text: String) throws { try self.set(self.keyPath, text) }

    private func set(_ path: String, _ text: String) throws {
        try FileManager.default.createDirectory(
            atPath: self.folder, withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    func remove() { try? FileManager.default.removeItem(atPath: self.folder) }
}
