import Foundation
import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import WorkloadAPIProto

extension TestAuthority {
    /// The key of this trust domain in a bundle map.
    var bundleKey: String { self.trustDomain.id.string }

    /// The one authority in DER.
    var rootDER: [UInt8] { get throws { try self.x509Bundle.concatenatedDER } }

    /// The state with an identity of this path and the bundles of other trust domains.
    func context(_ path: String = "/web", federated: [TestAuthority] = []) throws -> X509Context {
        X509Context(
            svids: [try self.x509SVID(path)],
            bundles: X509BundleSet(try ([self] + federated).map { try $0.x509Bundle }))
    }

    /// The same as a message.
    func message(_ path: String = "/web") throws -> X509SVIDResponse {
        X509SVIDResponse(try self.context(path))
    }

    /// A message entry for an identity with this path.
    func entry(_ path: String, hint: String = "") throws -> WorkloadAPIProto.X509SVID {
        var entry = try self.message(path).svids[0]
        entry.hint = hint
        return entry
    }

    /// A message entry for a token.
    func token(_ path: String, audience: [String]) throws -> WorkloadAPIProto.JWTSVID {
        var entry = WorkloadAPIProto.JWTSVID()
        let svid = try self.jwtSVID(path, audience: audience)
        entry.spiffeID = svid.id.string
        entry.svid = svid.token
        return entry
    }
}

/// Waits are short in tests, and their number does not matter.
var quick: WorkloadAPIConfiguration {
    var configuration = WorkloadAPIConfiguration()
    configuration.firstBackOff = .milliseconds(5)
    configuration.longestBackOff = .milliseconds(20)
    configuration.callTimeout = .seconds(20)
    return configuration
}

/// How long a test waits for what should come at once.
let patience: Duration = .seconds(20)
