import ControlPlaneProto
import Foundation
import SPIFFE
import ServiceRuntime
import SwiftProtobuf

/// A partner's bundle as an operator hands it in.
enum BundleInput {
    /// The largest file, in bytes; the server accepts less.
    private static let maximumSize = 16 * 1024 * 1024

    /// Reads a file, or standard input for an empty path or `-`.
    ///
    /// - Throws: ``CommandError`` or ``FileError`` naming the file.
    static func read(
        _ path: String, format: BundleTextFormat, of trustDomain: String
    ) throws -> Spire_Api_Types_Bundle {
        let path = path.isEmpty ? "-" : path
        let bytes = try BoundedFile.read(path, limit: Self.maximumSize)
        return try self.parse(
            bytes, format: format, of: trustDomain,
            source: path == "-" ? "standard input" : QuotedText.quoted(path))
    }

    /// - Parameter source: what the bytes were read from, for messages.
    static func parse(
        _ bytes: [UInt8], format: BundleTextFormat, of trustDomain: String, source: String
    ) throws(CommandError) -> Spire_Api_Types_Bundle {
        do {
            let trustDomain = try TrustDomain(nameOrID: trustDomain)
            switch format {
            case .pem: return try self.pem(bytes, trustDomain)
            case .spiffe:
                return self.message(try SPIFFEBundle(trustDomain: trustDomain, json: bytes))
            }
        } catch {
            throw CommandError(
                "cannot read a bundle in format \(format.rawValue) from \(source): \(TerminalText.safe("\(error)"))"
            )
        }
    }

    private static func pem(
        _ bytes: [UInt8], _ trustDomain: TrustDomain
    ) throws -> Spire_Api_Types_Bundle {
        let bundle = try X509Bundle(
            trustDomain: trustDomain, pem: String(decoding: bytes, as: UTF8.self))
        // An empty bundle takes all trust away; a file that is no PEM must not do that by mistake.
        guard !bundle.authorities.isEmpty else {
            throw CommandError("there is no block \"CERTIFICATE\" in it")
        }
        return .with {
            $0.trustDomain = trustDomain.name
            $0.x509Authorities = bundle.authoritiesDER.map { der in .with { $0.asn1 = Data(der) } }
        }
    }

    /// The bundle as a message.
    static func message(_ bundle: SPIFFEBundle) -> Spire_Api_Types_Bundle {
        .with {
            $0.trustDomain = bundle.trustDomain.name
            $0.x509Authorities = bundle.x509Authorities.map { der in .with { $0.asn1 = Data(der) } }
            $0.jwtAuthorities = bundle.jwtAuthorities.map { key in
                .with {
                    $0.keyID = key.keyID
                    $0.publicKey = Data(key.publicKeyDER)
                }
            }
            $0.witAuthorities = bundle.witAuthorities.map { key in
                .with {
                    $0.keyID = key.keyID
                    $0.publicKey = Data(key.publicKeyDER)
                }
            }
            $0.refreshHint = max(0, bundle.refreshHint?.components.seconds ?? 0)
            $0.sequenceNumber = bundle.sequenceNumber ?? 0
        }
    }
}
