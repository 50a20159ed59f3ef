import SPIFFE
import WorkloadAPIProto

/// Reads the messages about WIT-SVIDs; nothing of one is used when a part of it breaks a rule.
enum WITMessages {
    static func svids(
        _ message: WorkloadAPIProto.WITSVIDResponse
    ) throws(WorkloadAPIError) -> [SPIFFE.WITSVID] {
        guard !message.svids.isEmpty else {
            throw WorkloadAPIError(message: "WITSVIDResponse has no SVID")
        }
        var svids: [SPIFFE.WITSVID] = []
        var hints: Set<[UInt8]> = []
        for entry in message.svids {
            guard !entry.spiffeID.isEmpty, !entry.witSvid.isEmpty, !entry.witSvidKey.isEmpty else {
                throw WorkloadAPIError(
                    message: "WITSVID in WITSVIDResponse lacks spiffe_id, wit_svid or wit_svid_key")
            }
            let svid: SPIFFE.WITSVID
            do throws(WITSVIDError) {
                svid = try SPIFFE.WITSVID(
                    token: entry.witSvid, privateJWK: entry.witSvidKey, hint: entry.hint)
            } catch {
                throw WorkloadAPIError(
                    message: "WITSVID of \(WorkloadAPIError.quoted(entry.spiffeID)): \(error)",
                    cause: error)
            }
            guard svid.id.string.utf8.elementsEqual(entry.spiffeID.utf8) else {
                throw WorkloadAPIError(
                    message:
                        "spiffe_id \(WorkloadAPIError.quoted(entry.spiffeID)) is not the subject "
                        + "of its token, \(svid.id)")
            }
            guard svid.hint.isEmpty || hints.insert(Array(svid.hint.utf8)).inserted else {
                continue
            }
            svids.append(svid)
        }
        return svids
    }

    static func bundles(
        _ message: WorkloadAPIProto.WITBundlesResponse
    ) throws(WorkloadAPIError) -> WITBundleSet {
        guard !message.bundles.isEmpty else {
            throw WorkloadAPIError(message: "WITBundlesResponse has no bundle")
        }
        var bundles = WITBundleSet()
        for (key, jwks) in message.bundles {
            let trustDomain = try BundleKey.trustDomain(key)
            do throws(BundleError) {
                bundles.set(try WITBundle(trustDomain: trustDomain, jwks: Array(jwks.utf8)))
            } catch {
                throw WorkloadAPIError(
                    message: "WIT bundle of \(trustDomain): \(error)", cause: error)
            }
        }
        return bundles
    }
}
