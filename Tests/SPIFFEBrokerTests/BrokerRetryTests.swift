import Crypto
import Foundation
import GRPCCore
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFETLS
import SwiftASN1
import Testing
import X509

@testable import SPIFFEBroker

@Suite("What a broker does after a refusal")
struct BrokerRetryTests {
    private func error(_ code: RPCError.Code, _ metadata: Metadata = [:]) throws -> BrokerError {
        BrokerError(
            RPCError(code: code, message: "no", metadata: metadata), calling: "X",
            at: try BrokerAddress("unix:///a"), refusal: nil)
    }

    @Test(
        "BEP-11, BEP-13, BRK-35, BRK-47: the status code alone decides what is retried, and how slowly"
    )
    func codes() throws {
        let process = try WorkloadReference.process(1)
        let object = try WorkloadReference.kubernetes(
            try KubernetesObject(plural: "nodes", group: "core", name: .clusterScoped(name: "n")))
        let rows: [(RPCError.Code, BrokerError.Code, process: Bool, object: Bool)] = [
            (.invalidArgument, .invalidRequest, false, false),
            (.unimplemented, .notSupported, false, false),
            (.unavailable, .unavailable, true, true),
            (.permissionDenied, .permissionDenied, true, true),
            // A PID may have come to mean another process, so it is not asked for again.
            (.notFound, .workloadNotFound, false, true),
            (.unauthenticated, .unauthenticated, true, true),
            (.internalError, .failed, true, true),
        ]
        for (status, code, retriesProcess, retriesObject) in rows {
            let error = try self.error(status)
            #expect(error.code == code && error.reason == nil)
            #expect(error.isRetryable(process) == retriesProcess)
            #expect(error.isRetryable(object) == retriesObject)
            #expect(error.withdrawsWorkload == [.permissionDenied, .notFound].contains(status))
        }
    }

    @Test("BRK-35: details that are no details do no harm")
    func rubbish() throws {
        let metadata: Metadata = ["grpc-status-details-bin": .binary([0xff, 0xff])]
        let error = try self.error(.notFound, metadata)
        #expect(error.code == .workloadNotFound && error.reason == nil)
    }

    @Test(
        "BRK-26, BRK-47: a clean end is followed at once, errors by growing waits, refusals by the longest"
    )
    func waits() throws {
        var waits = BrokerWaits(first: .milliseconds(100), longest: .seconds(1))
        func next(_ error: BrokerError?, hadMessages: Bool = false, lasted: Duration = .zero)
            -> Duration
        { waits.next(after: error, hadMessages: hadMessages, lasted: lasted, jitter: 1) }
        let away = try self.error(.unavailable)
        let refused = try self.error(.permissionDenied)
        #expect(next(nil, lasted: .seconds(5)) == .zero && next(nil, lasted: .seconds(5)) == .zero)
        #expect(next(nil) == .milliseconds(100))
        #expect(next(away) == .milliseconds(200) && next(away) == .milliseconds(400))
        #expect(next(refused) == .seconds(1) && next(refused) == .seconds(1))
        #expect(next(away) == .milliseconds(800) && next(away) == .seconds(1))
        #expect(next(away, hadMessages: true) == .milliseconds(100))
    }

    @Test(
        "BEP-12: after UNAUTHENTICATED the same X509-SVID is not shown again, and a new one is shown on a new connection"
    )
    func renewal() throws {
        let own = Rotating(try Self.svid())
        let connections = BrokerConnections(
            try BrokerAddress("unix:///a"), svid: own,
            verifier: TLSPeerVerifier(bundles: X509BundleSet(), authorizer: .oneOf([])),
            BrokerConfiguration())
        let first = try connections.connection()
        #expect(try connections.connection() === first)
        connections.refused(first)
        let error = #expect(throws: BrokerError.self) { try connections.connection() }
        #expect(error?.code == .noCredentials)
        own.rotate(try Self.svid())
        let second = try connections.connection()
        #expect(second !== first && second.svid != first.svid)
        // That the old one is refused once more says nothing about the new one.
        connections.refused(first)
        #expect(try connections.connection() === second)
        connections.close()
        let closed = #expect(throws: BrokerError.self) { try connections.connection() }
        #expect(closed?.code == .stopped)
    }

    private static func svid() throws -> SPIFFE.X509SVID {
        let key = P256.Signing.PrivateKey()
        let name = try DistinguishedName { CommonName("broker") }
        let leaf = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(),
            publicKey: Certificate.PublicKey(key.publicKey), notValidBefore: Date() - 60,
            notValidAfter: Date() + 3600, issuer: name, subject: name,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth, .clientAuth])
                SubjectAlternativeNames([.uniformResourceIdentifier("spiffe://acme.test/broker")])
            }, issuerPrivateKey: Certificate.PrivateKey(key))
        var serializer = DER.Serializer()
        try serializer.serialize(leaf)
        return try SPIFFE.X509SVID(
            certificates: [serializer.serializedBytes],
            privateKeyPKCS8DER: Array(key.derRepresentation))
    }
}

/// An identity that is renewed when the test says so.
private final class Rotating: X509SVIDSource {
    private let current: NIOLockedValueBox<SPIFFE.X509SVID>
    init(_ svid: SPIFFE.X509SVID) { self.current = NIOLockedValueBox(svid) }
    func rotate(_ svid: SPIFFE.X509SVID) { self.current.withLockedValue { $0 = svid } }
    func x509SVID() -> SPIFFE.X509SVID { self.current.withLockedValue { $0 } }
}
