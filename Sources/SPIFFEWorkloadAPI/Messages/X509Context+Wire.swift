import Foundation
package import SPIFFE
package import WorkloadAPIProto

extension X509Context {
    /// Reads a message; nothing of it is used when a part of it breaks a rule. The Broker API's has the same
    /// fields.
    ///
    /// - Throws: ``WorkloadAPIError`` `invalidResponse`.
    package init(_ message: WorkloadAPIProto.X509SVIDResponse) throws(WorkloadAPIError) {
        guard !message.svids.isEmpty else {
            throw WorkloadAPIError(message: "X509SVIDResponse has no SVID")
        }
        var svids: [SPIFFE.X509SVID] = []
        var hints: Set<[UInt8]> = []
        var bundles = X509BundleSet()
        for entry in message.svids {
            let (svid, bundle) = try Self.identity(entry)
            // Entries of one trust domain carry the same bundle; should they not, the first counts, as
            // it does for hints.
            if bundles.x509Bundle(for: bundle.trustDomain) == nil { bundles.set(bundle) }
            guard svid.hint.isEmpty || hints.insert(Array(svid.hint.utf8)).inserted else {
                continue
            }
            svids.append(svid)
        }
        for (key, der) in message.federatedBundles {
            let trustDomain = try BundleKey.trustDomain(key)
            // The own bundle comes with the SVID; a federated one never takes its place.
            guard bundles.x509Bundle(for: trustDomain) == nil else { continue }
            bundles.set(try Self.bundle(trustDomain, der))
        }
        self.init(svids: svids, bundles: bundles, revocationLists: message.crl.map { [UInt8]($0) })
    }

    /// Reads the bundles of a message that has no SVIDs.
    ///
    /// - Throws: ``WorkloadAPIError`` `invalidResponse`.
    package static func bundles(
        _ message: WorkloadAPIProto.X509BundlesResponse
    ) throws(WorkloadAPIError) -> X509BundleSet {
        guard !message.bundles.isEmpty else {
            throw WorkloadAPIError(message: "X509BundlesResponse has no bundle")
        }
        var bundles = X509BundleSet()
        for (key, der) in message.bundles {
            bundles.set(try Self.bundle(try BundleKey.trustDomain(key), der))
        }
        return bundles
    }

    private static func identity(
        _ entry: WorkloadAPIProto.X509SVID
    ) throws(WorkloadAPIError) -> (SPIFFE.X509SVID, X509Bundle) {
        let fields = [
            ("spiffe_id", entry.spiffeID.isEmpty), ("x509_svid", entry.x509Svid.isEmpty),
            ("x509_svid_key", entry.x509SvidKey.isEmpty), ("bundle", entry.bundle.isEmpty),
        ]
        if let (name, _) = fields.first(where: { $0.1 }) {
            throw WorkloadAPIError(message: "X509SVID in X509SVIDResponse has no \(name)")
        }
        let svid: SPIFFE.X509SVID
        do throws(X509SVIDError) {
            svid = try SPIFFE.X509SVID(
                certificateChainDER: [UInt8](entry.x509Svid),
                privateKeyPKCS8DER: [UInt8](entry.x509SvidKey), hint: entry.hint)
        } catch {
            throw WorkloadAPIError(
                message: "X509SVID of \(WorkloadAPIError.quoted(entry.spiffeID)): \(error)",
                cause: error)
        }
        guard svid.id.string.utf8.elementsEqual(entry.spiffeID.utf8) else {
            throw WorkloadAPIError(
                message: "spiffe_id \(WorkloadAPIError.quoted(entry.spiffeID)) is not that of the "
                    + "certificate, \(svid.id)")
        }
        return (svid, try Self.bundle(svid.id.trustDomain, entry.bundle))
    }

    private static func bundle(
        _ trustDomain: TrustDomain, _ der: Data
    ) throws(WorkloadAPIError) -> X509Bundle {
        do throws(X509SVIDError) {
            return try X509Bundle(trustDomain: trustDomain, concatenatedDER: [UInt8](der))
        } catch {
            throw WorkloadAPIError(
                message: "X.509 bundle of \(trustDomain): \(error)", cause: error)
        }
    }
}

/// The keys of bundle maps.
enum BundleKey {
    /// The trust domain that a key names: its SPIFFE ID, as `spiffe://partner.test`.
    static func trustDomain(_ key: String) throws(WorkloadAPIError) -> TrustDomain {
        guard let id = try? SPIFFEID(key), id.hasEmptyPath else {
            throw WorkloadAPIError(
                message: "bundle key \(WorkloadAPIError.quoted(key)) is no trust domain's SPIFFE ID"
            )
        }
        return id.trustDomain
    }
}

extension WorkloadAPIError {
    /// A message from the server that breaks a rule.
    init(message reason: String, cause: (any Error)? = nil) {
        self.init(
            .invalidResponse, "answer of the Workload API discarded: \(reason)", cause: cause)
    }
}
