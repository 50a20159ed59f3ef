import Logging
import SPIFFE
import ServerCore
import ServiceRuntime

/// Bundles from files that the configuration names, for the first contact with partners (SPIFFE Federation
/// §5.2.2.2).
enum BootstrapBundles {
    /// The most bytes of a file.
    private static let maximumSize = 4 * 1024 * 1024

    /// Stores the bundle of each partner of whom none is stored: once one was fetched, the file counts no more
    /// (§5.2.2.4).
    ///
    /// - Throws: ``FileError`` or ``ServerError`` that names the file.
    static func store(
        _ partners: [PartnerConfiguration], directory: Directory, registry: BundleRegistry,
        logger: Logger
    ) async throws {
        for partner in partners {
            guard let path = partner.bootstrapPath, directory.bundle(partner.trustDomain) == nil
            else { continue }
            let bytes = try BoundedFile.read(path, limit: Self.maximumSize)
            do {
                let bundle: TrustBundle
                switch partner.bootstrapFormat {
                case .pem:
                    bundle = try self.pem(bytes, partner.trustDomain)
                case .spiffe:
                    var read = TrustBundle(
                        fetched: try SPIFFEBundle(trustDomain: partner.trustDomain, json: bytes))
                    read.isFetched = false
                    bundle = read
                }
                guard !bundle.x509Authorities.isEmpty else {
                    throw ServerError(
                        .invalidArgument,
                        "it has no X.509 authority to verify the endpoint with")
                }
                _ = try await registry.set(bundle)
            } catch {
                throw ServerError(
                    .failedPrecondition,
                    "cannot use bootstrap bundle \(QuotedText.quoted(path)) of \(partner.trustDomain): \(error)"
                )
            }
            logger.info(
                "took the bootstrap bundle of a partner",
                metadata: [LogKeys.partner: "\(partner.trustDomain)", "path": "\(path)"])
        }
    }

    private static func pem(_ bytes: [UInt8], _ trustDomain: TrustDomain) throws -> TrustBundle {
        let read = try X509Bundle(
            trustDomain: trustDomain, pem: String(decoding: bytes, as: UTF8.self))
        var bundle = TrustBundle(trustDomain: trustDomain)
        bundle.x509Authorities = read.authoritiesDER.map { .init(der: $0) }
        return bundle
    }
}
