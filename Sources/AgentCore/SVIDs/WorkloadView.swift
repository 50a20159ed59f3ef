import NIOConcurrencyHelpers
package import SPIFFE

/// Everything an X.509 workload is told, as of one moment: its identities in order, its own trust
/// domain's bundle and those it federates with.
///
/// Workloads with the same entries share one view, and with it the bytes it is sent as.
package final class X509View: Sendable {
    /// Equal keys mean equal content.
    package struct Key: Hashable, Sendable {
        /// Numbers of the SVIDs, in order.
        var identities: [UInt64]
        /// The identities' hints as bytes, or nothing when none has one.
        var hints: [[UInt8]]
        var bundles: [UInt64]
        /// Of the CRLs of the same trust domains; nothing when there are none.
        var revocations: [UInt64] = []
    }

    package struct Identity: Sendable {
        package let svid: IssuedX509SVID
        package let entry: AuthorizedEntry
    }

    package let key: Key
    /// At least one; the first is the default identity.
    package let identities: [Identity]
    /// Whether some of it ends with the processes that have it.
    let revokesOnExit: Bool
    package let ownBundle: AgentBundle
    package let federatedBundles: [AgentBundle]
    /// CertificateLists of the bundles' authorities, DER.
    package let crls: [[UInt8]]
    /// Where the edge keeps the view's serialised form, made by the first who needs it.
    package let encoded = EncodedForm()

    init(
        key: Key, identities: [Identity], ownBundle: AgentBundle, federatedBundles: [AgentBundle],
        crls: [[UInt8]] = []
    ) {
        self.crls = crls
        self.key = key
        self.identities = identities
        self.revokesOnExit = identities.contains(where: \.entry.revokesOnExit)
        self.ownBundle = ownBundle
        self.federatedBundles = federatedBundles
    }
}

/// The WIT-SVIDs that a stream is told, as of one moment, in order.
package final class WITView: Sendable {
    /// Equal keys mean equal content.
    struct Key: Hashable, Sendable {
        /// Numbers of the SVIDs, in order.
        var identities: [UInt64]
        /// The identities' hints as bytes.
        var hints: [[UInt8]]
    }

    package struct Identity: Sendable {
        package let svid: IssuedWITSVID
        package let entry: AuthorizedEntry
    }

    let key: Key
    /// At least one; the first is the default identity.
    package let identities: [Identity]
    /// Whether some of it ends with the processes that have it.
    let revokesOnExit: Bool
    package let encoded = EncodedForm()

    init(key: Key, identities: [Identity]) {
        self.key = key
        self.revokesOnExit = identities.contains(where: \.entry.revokesOnExit)
        self.identities = identities
    }
}

/// The bundles a workload may verify others with, as of one moment; our own trust domain's comes
/// first.
package final class BundleView: Sendable {
    package let bundles: [AgentBundle]
    /// CertificateLists of the bundles' X.509 authorities, DER; only where those are what is told.
    package let crls: [[UInt8]]
    let versions: [UInt64]
    package let encoded = EncodedForm()

    init(bundles: [AgentBundle], versions: [UInt64], crls: [[UInt8]] = []) {
        self.crls = crls
        self.bundles = bundles
        self.versions = versions
    }
}

/// What a workload is told of SVIDs that were taken back, as of one moment; our own trust domain's come first.
package final class RevocationView: Sendable {
    package struct Domain: Sendable {
        package let trustDomain: TrustDomain
        /// CertificateLists, DER.
        package let crls: [[UInt8]]
        /// By URI.
        package let statusLists: [String: String]
        package let revokedTokens: Set<SigningInputDigest>
    }

    /// Those of which something is known.
    package let domains: [Domain]
    let versions: [UInt64]
    package let encoded = EncodedForm()
    /// For clients that take parts.
    package let encodedParts = EncodedForm()

    init(domains: [Domain], versions: [UInt64]) {
        self.domains = domains
        self.versions = versions
    }
}

/// A value's serialised form, made once and shared by all who send it.
package final class EncodedForm: Sendable {
    private let form = NIOLockedValueBox<(any Sendable)?>(nil)

    package init() {}

    /// The form; `make` runs only the first time. One form, and so one type, per value.
    package func get<Form: Sendable>(_ make: () throws -> Form) rethrows -> Form {
        if let form = self.form.withLockedValue({ $0 }) as? Form { return form }
        let made = try make()
        return self.form.withLockedValue { form in
            if let first = form as? Form { return first }
            form = made
            return made
        }
    }
}
