import Foundation
import SwiftASN1
import X509

/// Which authorities of a bundle have had their time.
package enum ExpiredAuthorities {
    /// The bundle without authorities that ended before that Unix time; of X.509 and JWT ones the last stays,
    /// of WIT ones none: a server that issues no WIT-SVIDs any more publishes no keys for them.
    ///
    /// - Returns: nil when there is nothing to remove.
    package static func prune(_ bundle: TrustBundle, expiredBefore bound: Int64) -> TrustBundle? {
        var pruned = bundle
        pruned.x509Authorities.removeAll { authority in
            guard let certificate = try? Certificate(derEncoded: authority.der) else {
                return false
            }
            return Int64(certificate.notValidAfter.timeIntervalSince1970) < bound
        }
        if pruned.x509Authorities.isEmpty, let last = bundle.x509Authorities.last {
            pruned.x509Authorities = [last]
        }
        pruned.jwtAuthorities.removeAll { $0.expiresAt != 0 && $0.expiresAt < bound }
        if pruned.jwtAuthorities.isEmpty, let last = bundle.jwtAuthorities.last {
            pruned.jwtAuthorities = [last]
        }
        pruned.witAuthorities.removeAll { $0.expiresAt != 0 && $0.expiresAt < bound }
        return pruned == bundle ? nil : pruned
    }
}
